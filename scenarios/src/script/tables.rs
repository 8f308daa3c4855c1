//! What the other crates know by name: settings and properties.

/// Checks a broker setting.
pub(super) fn broker_setting(_key: &str, _value: &str) -> Result<(), String> {
    Ok(())
}
pub(super) fn topic_setting(_key: &str, _value: &str) -> Result<(), String> {
    Ok(())
}
pub(super) fn producer_setting(_key: &str, _value: &str) -> Result<(), String> {
    Ok(())
}
pub(super) fn consumer_setting(_key: &str, _value: &str) -> Result<(), String> {
    Ok(())
}
pub fn property_names() -> Vec<&'static str> {
    vec!["acked-records-survive"]
}
