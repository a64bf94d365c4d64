//! How much memory a decoder takes, held against what it was given.

/// Runs `read` and gives what it gives.
///
/// # Panics
///
/// When at any moment it holds more than `bytes_max` bytes beyond those from before.
pub(crate) fn within<T>(bytes_max: usize, read: impl FnOnce() -> T) -> T {
    let mut result = None;
    let taken = allocation_counter::measure(|| result = Some(read()));
    let bytes = usize::try_from(taken.bytes_max).unwrap_or(usize::MAX);
    assert!(bytes <= bytes_max, "{bytes} bytes of memory, more than {bytes_max}");
    result.expect("measure runs what it is given")
}
