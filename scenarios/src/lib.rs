//! klamm-scenarios
