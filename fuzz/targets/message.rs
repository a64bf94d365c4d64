//! The driver of the target `message`: libFuzzer's with cargo-fuzz, else one that runs files.
#![cfg_attr(fuzzing, no_main)]

majordomo_fuzz::driver!(message);
