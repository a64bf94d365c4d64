//! The driver of the target `key`: libFuzzer's with cargo-fuzz, else one that runs files.
#![cfg_attr(fuzzing, no_main)]

majordomo_fuzz::driver!(key);
