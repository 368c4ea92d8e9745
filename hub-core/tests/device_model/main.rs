//! Two nodes' machines of one device against one naive model of its session, twin and messages.
//!
//! Whatever a machine has cached, whoever wrote last and however often a change loses against
//! another: every answer is what one plain object would give, and the store holds what it would.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod acts;
mod model;
mod real;
#[path = "../regress/rig.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod rig;

use proptest::prelude::*;

use acts::step;
use model::Model;
use real::Real;

/// How often a change that lost is decided again.
const ROUNDS: u32 = 3;

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn two_machines_and_a_store_are_one_plain_device(
        steps in prop::collection::vec(step(), 1..50)
    ) {
        let mut real = Real::new();
        let mut model = Model {
            enabled: true,
            desired_version: 1,
            reported_version: 1,
            ..Model::default()
        };
        for step in &steps {
            let (shown, right) = (real.act(step), model.act(step));
            assert_eq!(shown, right, "after {step:?}, {model:#?}");
            real.check(&model);
        }
    }
}
