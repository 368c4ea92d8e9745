//! Wall time of the benches in `benches::claim`. See the README for what each number means.

use benches::claim::{Overdue, Queues};
use benches::measure;
use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    measure::<Queues>(&mut criterion);
    measure::<Overdue>(&mut criterion);
    criterion.final_summary();
}
