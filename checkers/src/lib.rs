//! klamm-checkers
