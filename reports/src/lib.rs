//! klamm-reports
