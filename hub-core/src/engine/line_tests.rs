//! A line by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use bytes::Bytes;

use super::*;
use crate::error::ErrorKind;
use crate::frame::MethodRef;
use crate::id::Tag;

fn line(window: usize, bytes_max: usize, out_max: usize) -> Line {
    let address = Address::parse("d1").unwrap();
    Line::new(LinkId(1), address, Bounds { window, bytes_max, out_max })
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Woken {
    fn times(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn desired(version: u64) -> Outbound {
    Outbound::Desired(version, Bytes::new())
}

#[test]
fn unanswered_frames_take_places_in_the_window() {
    let line = line(2, 1000, 100);
    line.sent(0);
    assert!(line.has_room());
    line.sent(0);
    assert!(!line.has_room());
    line.push(desired(1));
    assert!(!line.has_room(), "this answers nothing");
    let error = HubError::new(ErrorKind::Busy, "");
    for answer in [
        Outbound::Receipt(Tag(1)),
        Outbound::Refused(Tag(2), error),
        Outbound::Twin(Tag(3), Bytes::new()),
        Outbound::Reported(Tag(4), 1),
    ] {
        line.push(answer);
        assert!(line.has_room());
        line.sent(0);
        assert!(!line.has_room());
    }
    line.uncount();
    assert!(line.has_room());
}

#[test]
fn bytes_of_telemetry_are_bounded_and_come_back() {
    let line = line(100, 10, 100);
    line.sent(9);
    assert!(line.has_room());
    line.sent(9);
    assert!(!line.has_room());
    line.receipt(Tag(1), 9);
    assert!(line.has_room());
    line.sent(9);
    line.refuse(Tag(2), 9, HubError::new(ErrorKind::Forbidden, ""));
    assert!(line.has_room(), "what is refused is not kept either");
}

#[test]
fn whoever_waits_is_woken_once() {
    let (line, woken) = (line(1, 1000, 100), Arc::new(Woken::default()));
    let waker = Waker::from(woken.clone());
    let cx = &mut Context::from_waker(&waker);
    line.sent(0);
    assert!(line.poll_room(cx).is_pending());
    line.push(Outbound::Receipt(Tag(1)));
    line.push(Outbound::Receipt(Tag(2)));
    assert_eq!(woken.times(), 1);
    assert!(line.poll_room(cx).is_ready());
    while line.try_next().is_some() {}
    assert!(line.poll_next(cx).is_pending());
    line.push(desired(1));
    line.push(desired(2));
    assert_eq!(woken.times(), 2);
}

#[test]
fn what_is_said_comes_in_order_and_ends_with_close() {
    let line = line(4, 1000, 100);
    let cx = &mut Context::from_waker(Waker::noop());
    line.push(desired(1));
    line.push(Outbound::Call(MethodRef(1), "x".into(), Bytes::new()));
    line.close(CloseReason::TakenOver);
    line.push(desired(2));
    line.close(CloseReason::Shutdown);
    assert_eq!(line.try_next(), Some(desired(1)));
    assert!(matches!(line.try_next(), Some(Outbound::Call(..))));
    let close = Outbound::Close(CloseReason::TakenOver);
    assert_eq!(line.poll_next(cx), Poll::Ready(Some(close)), "the first reason counts");
    assert_eq!(line.poll_next(cx), Poll::Ready(None), "nothing follows");
    for _ in 0..10 {
        line.sent(0);
    }
    assert!(line.poll_room(cx).is_ready(), "nobody waits for room on a closed line");
}

#[test]
fn a_peer_that_takes_nothing_is_cut_off_and_kept_for_no_longer() {
    let line = line(4, 1000, 3);
    for version in 0..3 {
        line.push(desired(version));
    }
    line.push(desired(3));
    line.push(desired(4));
    assert_eq!(line.try_next(), Some(Outbound::Close(CloseReason::PeerStuck)));
    assert_eq!(line.try_next(), None);
    assert_eq!(line.poll_next(&Context::from_waker(Waker::noop())), Poll::Ready(None));
}

#[test]
fn what_one_turn_may_bring_does_not_look_like_a_stuck_peer() {
    let limits = Limits { link_window: 1, ..Limits::default() };
    let bounds = Bounds::from(&limits);
    let at_once = limits.link_window
        + usize::try_from(limits.offer_window).unwrap()
        + limits.methods_in_flight_max;
    assert!(bounds.out_max >= at_once);
    let line = Line::new(LinkId(1), Address::parse("d1").unwrap(), bounds);
    for version in 0..at_once {
        line.push(desired(u64::try_from(version).unwrap()));
    }
    assert_eq!(line.try_next(), Some(desired(0)));
}
