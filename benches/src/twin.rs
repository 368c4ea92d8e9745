//! The twin's pure part: text in, text out.

use std::fmt;

use bytes::Bytes;
use hub_core::limits::Limits;
use hub_core::time::Timestamp;
use hub_core::twin::{Patch, Twin};

use crate::{Bench, Random};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// How large the reported section is, and the patch of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// 5 properties, 1 of them patched.
    Small,
    /// 50 properties in objects of 10, 5 of them patched.
    Medium,
    /// 500 properties in objects of 10, some 16 KB; 50 of them patched.
    Large,
}

impl Scale {
    const ALL: &'static [Self] = &[Self::Small, Self::Medium, Self::Large];

    fn counts(self) -> (usize, usize) {
        match self {
            Self::Small => (5, 1),
            Self::Medium => (50, 5),
            Self::Large => (500, 50),
        }
    }

    /// Everything the section has.
    #[must_use]
    pub fn content(self, random: &mut Random) -> String {
        let (properties, _) = self.counts();
        text(properties, 1, random)
    }

    /// A patch of some of it.
    #[must_use]
    pub fn patch(self, random: &mut Random) -> String {
        let (properties, patched) = self.counts();
        text(properties, properties / patched, random)
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
        })
    }
}

/// Every `step`th of so many properties, ten to an object: a number, a text or a switch each.
fn text(properties: usize, step: usize, random: &mut Random) -> String {
    let mut groups: Vec<String> = Vec::new();
    for group in 0..properties.div_ceil(10) {
        let members = (group * 10..properties.min(group * 10 + 10)).filter(|n| n % step == 0);
        let members = members.map(|n| match n % 3 {
            0 => format!("\"reading{n:03}\":{}", random.draw() % 100_000),
            1 => format!("\"name{n:03}\":\"value {:08x}\"", random.draw() >> 32),
            _ => format!("\"switch{n:03}\":{}", random.draw().is_multiple_of(2)),
        });
        let members: Vec<_> = members.collect();
        groups.push(format!("\"group{group:02}\":{{{}}}", members.join(",")));
    }
    format!("{{{}}}", groups.join(","))
}

fn twin(scale: Scale, random: &mut Random, limits: &Limits) -> Twin {
    let mut twin = Twin::new(NOW);
    let content = Patch::parse(scale.content(random).as_bytes(), limits).expect("a patch");
    twin.report(&content, None, NOW, limits).expect("within the limits");
    twin
}

/// What one reported patch costs: parse it, apply it, encode the twin for the store.
#[derive(Debug)]
pub struct ReportPatch {
    limits: Limits,
    scale: Scale,
    twin: Twin,
    patches: Vec<Bytes>,
}

impl Bench for ReportPatch {
    type Size = Scale;
    const NAME: &'static str = "twin/patch";
    const SIZES: &'static [Scale] = Scale::ALL;

    fn open(scale: Scale) -> Self {
        let limits = Limits::default();
        Self { limits, scale, twin: Twin::new(NOW), patches: Vec::new() }
    }

    fn seed(&mut self, random: &mut Random) {
        self.twin = twin(self.scale, random, &self.limits);
        self.patches = (0..16).map(|_| self.scale.patch(random).into()).collect();
    }

    fn elements(_: Scale) -> u64 {
        1
    }

    fn run(&mut self, rounds: u64) {
        for text in self.patches.iter().cycle().take(usize::try_from(rounds).unwrap_or(0)) {
            let patch = Patch::parse(text, &self.limits).expect("a patch");
            self.twin.report(&patch, None, NOW, &self.limits).expect("within the limits");
            std::hint::black_box(self.twin.encode());
        }
    }
}

/// What it costs to load a twin from the store and to show it to its device.
#[derive(Debug)]
pub struct Load {
    scale: Scale,
    stored: Bytes,
}

impl Bench for Load {
    type Size = Scale;
    const NAME: &'static str = "twin/load";
    const SIZES: &'static [Scale] = Scale::ALL;

    fn open(scale: Scale) -> Self {
        Self { scale, stored: Bytes::new() }
    }

    fn seed(&mut self, random: &mut Random) {
        self.stored = twin(self.scale, random, &Limits::default()).encode();
    }

    fn elements(_: Scale) -> u64 {
        1
    }

    fn run(&mut self, rounds: u64) {
        for _ in 0..rounds {
            let twin = Twin::decode(&self.stored).expect("a twin");
            std::hint::black_box(twin.device_view());
        }
    }
}
