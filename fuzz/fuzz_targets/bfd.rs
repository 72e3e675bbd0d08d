//! See `bfd` in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vipcast_fuzz::bfd(data));
