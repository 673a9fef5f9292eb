//! Any text as a condition: an answer or an error, without a panic, and soon.
#![no_main]

use ergon_engine::expr::cel;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if cel::holds(text).is_ok() {
        assert!(cel::check(text).is_ok());
    }
});
