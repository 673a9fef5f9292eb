//! Giving back what a burst of work has left over.

use std::time::Duration;

/// How often. It takes some milliseconds.
const EVERY: Duration = Duration::from_secs(5);

/// Gives freed memory back to the system, over and over. glibc keeps what lies between pieces in use until it is asked:
/// after a thousand runs that is several times what the controller needs.
pub async fn give_back() {
    loop {
        tokio::time::sleep(EVERY).await;
        // A panic in there is no reason to end.
        let _ = tokio::task::spawn_blocking(trim).await;
    }
}

#[cfg(target_env = "gnu")]
fn trim() {
    // SAFETY: it takes the allocator's own locks, and changes nothing that is in use.
    #[expect(unsafe_code, reason = "malloc_trim(3) has no safe form")]
    unsafe {
        nix::libc::malloc_trim(0);
    }
}

#[cfg(not(target_env = "gnu"))]
fn trim() {}
