//! Wall time of the benches in `benches::twin`. See the README for what each number means.

mod measure;

use benches::twin::{Load, ReportPatch};
use criterion::Criterion;

use self::measure::measure;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    measure::<ReportPatch>(&mut criterion);
    measure::<Load>(&mut criterion);
    criterion.final_summary();
}
