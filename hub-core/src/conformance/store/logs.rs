//! The log: numbers, times, pages, places, forgetting.

use bytes::Bytes;

use super::Fixture;
use super::probe::{Probe, at, entries, text};
use crate::id::{Partition, SequenceNumber};
use crate::store::{Change, Entries, Entry, Seek, Store};
use crate::time::Timestamp;

const LOG: Partition = Partition(0);

fn numbers(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.sequence.0).collect()
}

/// Appends one entry at each of these times; the entries are numbered from one.
async fn at_times<S: Store>(probe: &Probe<S>, times: &[u64]) {
    for time in times {
        probe.append(LOG, *time, &[&time.to_string()]).await;
    }
}

/// Each append is told the number of its first entry, and `tail` shows all in order.
pub async fn s12_numbers_start_at_one_and_are_contiguous<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    assert_eq!(probe.append(LOG, 1, &["a"]).await, 1);
    assert_eq!(probe.append(LOG, 1, &["b", "c", "d"]).await, 2);
    let changes = vec![
        Change::new().append(LOG, at(2), entries(&["e", "f"])),
        Change::new().append(LOG, at(2), entries(&["g"])).append(LOG, at(2), entries(&["h", "i"])),
    ];
    let outcomes = probe.commit(changes).await;
    let issued: Vec<_> = outcomes
        .into_iter()
        .flat_map(|outcome| super::probe::committed(outcome).sequences)
        .collect();
    assert_eq!(issued, [5, 7, 8].map(SequenceNumber));
    assert_eq!(probe.append(LOG, 3, &["j"]).await, 10);
    assert_eq!(numbers(&probe.tail(LOG, 1, 99).await), (1..=10).collect::<Vec<_>>());
    assert_eq!(probe.texts(LOG).await.concat(), "abcdefghij");
}

/// Every partition begins at one and knows nothing of the others.
pub async fn s12_partitions_count_apart<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let partitions = [0, 1, 7, u16::MAX].map(Partition);
    for round in 0..3 {
        for partition in partitions {
            let first = probe.append(partition, 1, &[&partition.to_string(), "x"]).await;
            assert_eq!(first, 1 + 2 * round);
        }
    }
    for partition in partitions {
        let all = probe.tail(partition, 1, 99).await;
        assert_eq!(numbers(&all), [1, 2, 3, 4, 5, 6]);
        assert_eq!(text(&all[0].body), partition.to_string());
    }
    assert_eq!(probe.tail(Partition(3), 1, 99).await, []);
}

/// Times do not fall: an entry that comes with an earlier one has that of its predecessor.
pub async fn s12_an_earlier_time_is_raised<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    at_times(&probe, &[10, 30, 20, 0, 30, 40]).await;
    let changes = [35, 50, 45].map(|time| Change::new().append(LOG, at(time), entries(&["x"])));
    probe.commit(changes.to_vec()).await;
    probe.append(Partition(1), 5, &["another partition"]).await;
    let times: Vec<_> =
        probe.tail(LOG, 1, 99).await.iter().map(|entry| entry.at.as_millis()).collect();
    assert_eq!(times, [10, 30, 30, 30, 30, 40, 40, 50, 50]);
    assert_eq!(probe.tail(Partition(1), 1, 9).await[0].at, at(5));
}

/// The entry before counts also when it is no longer kept.
pub async fn s12_time_does_not_go_back_after_a_trim<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    at_times(&probe, &[10, 30]).await;
    probe.trim(LOG, 3).await;
    at_times(&probe, &[20]).await;
    assert_eq!(probe.tail(LOG, 1, 9).await[0].at, at(30));
}

/// Pages hold at most their limit, begin where they are asked to, and end where the log does.
pub async fn s12_tail_gives_pages<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    probe.append(LOG, 1, &["1", "2", "3"]).await;
    probe.append(LOG, 1, &["4"]).await;
    probe.append(LOG, 2, &["5", "6", "7"]).await;
    for limit in 1..=8 {
        for from in 1..=9 {
            let expected: Vec<_> = (from..=7).take(limit as usize).collect();
            let page = probe.tail(LOG, from, limit).await;
            assert_eq!(numbers(&page), expected, "{limit} from {from}");
            assert!(page.iter().all(|entry| text(&entry.body) == entry.sequence.0.to_string()));
        }
    }
    assert_eq!(probe.tail(LOG, u64::MAX, u32::MAX).await, []);
}

/// A reader that fell behind what is kept goes on at the oldest entry.
pub async fn s12_tail_begins_at_the_oldest_kept<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    probe.append(LOG, 1, &["1", "2", "3", "4", "5"]).await;
    assert_eq!(numbers(&probe.tail(LOG, 0, 2).await), [1, 2]);
    probe.trim(LOG, 4).await;
    for from in 0..=4 {
        assert_eq!(numbers(&probe.tail(LOG, from, 9).await), [4, 5], "from {from}");
        assert_eq!(numbers(&probe.tail(LOG, from, 1).await), [4], "from {from}");
    }
    assert_eq!(numbers(&probe.tail(LOG, 5, 9).await), [5]);
}

/// A change's appends to one partition follow each other, between those of the changes around it.
pub async fn s13_entries_of_one_change_stay_together<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let other = Partition(1);
    let change = |name: &str| {
        let bodies: Vec<_> = (0..6).map(|n| format!("{name}{n}")).collect();
        Change::new()
            .append(LOG, at(1), entries(&[&bodies[0], &bodies[1]]))
            .append(other, at(1), entries(&[&bodies[2]]))
            .append(LOG, at(1), entries(&[&bodies[3]]))
            .append(LOG, at(1), entries(&[&bodies[4], &bodies[5]]))
    };
    let outcomes = probe.commit(["a", "b"].map(change).to_vec()).await;
    assert_eq!(
        probe.texts(LOG).await,
        ["a0", "a1", "a3", "a4", "a5", "b0", "b1", "b3", "b4", "b5"]
    );
    assert_eq!(probe.texts(other).await, ["a2", "b2"]);
    let issued = super::probe::committed(outcomes[1].clone()).sequences;
    assert_eq!(issued, [6, 2, 8, 9].map(SequenceNumber));
}

/// Entries up to 512 KiB, empty ones, and many in one piece of memory come back as they were.
pub async fn s16_entries_come_back_byte_for_byte<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let bodies = super::documents::bodies(512 * 1024);
    for body in &bodies {
        let change = Change::new().append(LOG, at(1), Entries::one(body.clone()));
        probe.done(change).await;
    }
    let arena: Bytes = bodies.concat().into();
    let ends = bodies.iter().scan(0, |end, body| {
        *end += body.len() as u32;
        Some(*end)
    });
    let together = Entries::from_parts(arena, ends.collect::<Vec<_>>()).unwrap();
    probe.done(Change::new().append(LOG, at(1), together)).await;
    let all = probe.tail(LOG, 1, 99).await;
    assert_eq!(all.len(), 2 * bodies.len());
    for (entry, body) in all.iter().zip(bodies.iter().chain(&bodies)) {
        assert!(entry.body == body, "entry {} of {} bytes", entry.sequence, body.len());
    }
}

/// Where nothing was ever appended, every place is the first to come.
pub async fn s18_seek_in_an_empty_partition<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    probe.append(Partition(1), 5, &["elsewhere"]).await;
    for to in [Seek::Oldest, Seek::Next, Seek::Time(at(0)), Seek::Time(Timestamp::MAX)] {
        assert_eq!(probe.seek(LOG, to).await, 1, "{to:?}");
    }
    probe.trim(LOG, 50).await;
    assert_eq!(probe.seek(LOG, Seek::Next).await, 1);
    assert_eq!(probe.append(LOG, 1, &["a"]).await, 1);
}

/// A time is the oldest entry at or after it, also among equal times.
pub async fn s18_seek_finds_oldest_next_and_times<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    at_times(&probe, &[10, 20, 20]).await;
    probe.append(LOG, 20, &["4", "5"]).await;
    at_times(&probe, &[15, 30]).await;
    assert_eq!(probe.seek(LOG, Seek::Oldest).await, 1);
    assert_eq!(probe.seek(LOG, Seek::Next).await, 8);
    for (time, expected) in
        [(0, 1), (10, 1), (11, 2), (15, 2), (20, 2), (21, 7), (30, 7), (31, 8), (u64::MAX, 8)]
    {
        assert_eq!(probe.seek(LOG, Seek::Time(at(time))).await, expected, "{time}");
    }
}

/// Places are those of the entries still kept; when none is, all are the next to come.
pub async fn s18_seek_after_a_trim<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    at_times(&probe, &[10, 20]).await;
    probe.append(LOG, 30, &["3", "4", "5"]).await;
    probe.trim(LOG, 4).await;
    for (to, expected) in [
        (Seek::Oldest, 4),
        (Seek::Next, 6),
        (Seek::Time(at(0)), 4),
        (Seek::Time(at(20)), 4),
        (Seek::Time(at(30)), 4),
        (Seek::Time(at(31)), 6),
    ] {
        assert_eq!(probe.seek(LOG, to).await, expected, "{to:?}");
    }
    probe.trim(LOG, 6).await;
    for to in [Seek::Oldest, Seek::Next, Seek::Time(at(0)), Seek::Time(at(99))] {
        assert_eq!(probe.seek(LOG, to).await, 6, "{to:?}");
    }
}

/// However much was forgotten, the next entry has the next number.
pub async fn s18_numbers_go_on_after_a_trim<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    assert_eq!(probe.append(LOG, 1, &["1", "2", "3"]).await, 1);
    probe.trim(LOG, 4).await;
    assert_eq!(probe.append(LOG, 1, &["4"]).await, 4);
    // Far beyond the last one: forgets all there are, and promises nothing about later ones.
    for below in [1000, u64::MAX] {
        probe.trim(LOG, below).await;
        assert_eq!(probe.texts(LOG).await, [""; 0]);
    }
    assert_eq!(probe.append(LOG, 1, &["5", "6"]).await, 5);
    assert_eq!(probe.texts(LOG).await, ["5", "6"]);
}

/// A trim forgets what is below its number in its partition, and nothing else; again, or with a
/// lower number, it forgets nothing.
pub async fn s18_trim_forgets_exactly_what_is_below<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let other = Partition(1);
    for partition in [LOG, other] {
        probe.append(partition, 1, &["1", "2"]).await;
        probe.append(partition, 1, &["3", "4", "5"]).await;
    }
    for (below, left) in [(0, 1), (1, 1), (2, 2), (2, 2), (1, 2), (4, 4), (3, 4), (5, 5), (6, 6)] {
        probe.trim(LOG, below).await;
        let expected: Vec<_> = (left..=5).map(|n| n.to_string()).collect();
        assert_eq!(probe.texts(LOG).await, expected, "below {below}");
    }
    assert_eq!(probe.texts(other).await, ["1", "2", "3", "4", "5"]);
}
