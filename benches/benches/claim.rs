//! Wall time of the benches in `benches::claim`. See the README for what each number means.

mod measure;

use benches::claim::{Overdue, Queues};
use criterion::Criterion;

use self::measure::measure;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    measure::<Queues>(&mut criterion);
    measure::<Overdue>(&mut criterion);
    criterion.final_summary();
}
