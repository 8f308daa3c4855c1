//! The real side: tokio and std.
