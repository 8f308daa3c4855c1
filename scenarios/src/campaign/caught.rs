//! A panic of Klamm itself costs one seed, not the campaign.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

thread_local! {
    /// On a thread that is inside [`caught`]: what its first panic said, empty until then.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Does it; if it panics, what the panic said and where. Panics inside a run are the run's and do not come here.
pub(crate) fn caught<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    install_hook();
    SAID.set(Some(String::new()));
    let done = catch_unwind(AssertUnwindSafe(act));
    let said = SAID.take().unwrap_or_default();
    done.map_err(|payload| if said.is_empty() { words(payload.as_ref()) } else { said })
}

/// One hook for the process: what is caught says nothing, every other panic goes where it went before.
fn install_hook() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let noted = SAID.try_with(|said| said.borrow_mut().as_mut().map(|said| note(said, info)));
            if !matches!(noted, Ok(Some(()))) {
                before(info);
            }
        }));
    });
}

fn note(said: &mut String, info: &PanicHookInfo<'_>) {
    if said.is_empty() {
        let place = info.location().map(|at| format!("{at}: ")).unwrap_or_default();
        *said = format!("{place}{}", info.payload_as_str().unwrap_or("a panic without words"));
    }
}

/// Of a panic that began on another thread, where the usual hook printed its place.
fn words(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_with_its_place_and_the_thread_goes_on() {
        let said: String = caught::<()>(|| panic!("no {}", "way")).unwrap_err();
        assert!(said.starts_with("scenarios/src/campaign/caught.rs:") && said.ends_with(": no way"), "{said}");
        assert_eq!(caught(|| 3), Ok(3));
    }

    #[test]
    fn of_two_panics_the_first_is_told() {
        let said = caught(|| {
            let _ = catch_unwind(|| panic!("first"));
            panic!("second");
        });
        assert!(said.unwrap_err().ends_with("first"));
    }
}
