//! Where the simulated and the real world cannot agree, or do not yet. Each entry is used by the expectation that shows it.

/// One of them.
pub struct Difference {
    pub what: &'static str,
    pub why: &'static str,
}

pub const WRITE_AFTER_OWN_ABORT: Difference = Difference {
    what: "the kind of error of a write after one's own abort",
    why: "an aborted socket is closed, and the system would say EBADF: no code can depend on it, so each side has its word",
};

pub const READ_AFTER_THE_ERROR_WAS_TOLD: Difference = Difference {
    what: "a read after a read that told of an RST",
    why: "Linux tells an error once, then it is an end of file; the simulated stream says it each time, so that nobody takes \
          a broken stream for one that ended in good order",
};

pub const CREATE_DIR_OVER_A_FILE: Difference = Difference {
    what: "the kind of error of making a directory where a file is",
    why: "mkdir says EEXIST for the last part of a path and ENOTDIR for any other; the simulated disk has one word for both",
};

pub const SYNC_DIR_OF_A_FILE: Difference = Difference {
    what: "syncing a file as if it were a directory",
    why: "the real side opens whatever has the name, and fsync takes both; the simulated disk finds the caller's mistake",
};

pub const ORDER_OF_UNAWAITED_WRITES: Difference = Difference {
    what: "the order of appends that were all begun before any was awaited",
    why: "Env promises none: the real side keeps the order of the first polls, the simulated disk draws one, as a device may",
};

pub const ROOM_OF_A_STREAM: Difference = Difference {
    what: "how many bytes a stream takes for a reader that does not read",
    why: "a simulated stream has a fixed window of 64 KiB; Linux grows its two buffers to megabytes as it sees fit",
};
