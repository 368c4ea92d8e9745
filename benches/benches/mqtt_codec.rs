//! Wall time of the benches in `benches::mqtt_codec`. See the README for what each number means.

mod measure;

use benches::mqtt_codec::{Decode, Encode};
use criterion::Criterion;

use self::measure::measure;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    measure::<Decode>(&mut criterion);
    measure::<Encode>(&mut criterion);
    criterion.final_summary();
}
