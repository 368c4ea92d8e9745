//! Wall time of the benches in `benches::end_to_end`. See the README for what each number means.

mod measure;

use benches::end_to_end::Telemetry;
use criterion::Criterion;

use self::measure::measure;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    measure::<Telemetry>(&mut criterion);
    criterion.final_summary();
}
