//! Wall time of the benches in `benches::node`. See the README for what each number means.

mod measure;

use benches::node::{Method, Report, Settle};
use criterion::Criterion;

use self::measure::measure;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    measure::<Method>(&mut criterion);
    measure::<Report>(&mut criterion);
    measure::<Settle>(&mut criterion);
    criterion.final_summary();
}
