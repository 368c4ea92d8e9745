//! Any text is a topic, a filter, a bag, a user name, or is none.
#![no_main]

use hub_core::id::Address;
use hub_mqtt::bag::Bag;
use hub_mqtt::topics::{Operation, Topics};
use hub_mqtt::username::Username;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut bag = Bag::new();
    for address in ["d", "d/m"] {
        let topics = Topics::new(&Address::parse(address).expect("an address"));
        if let Ok(Operation::Telemetry(properties)) = topics.operation(text) {
            let _ = bag.parse(properties).count();
        }
        let _ = topics.interest(text);
    }
    let _ = bag.parse(text).count();
    let _ = Username::parse(text);
});
