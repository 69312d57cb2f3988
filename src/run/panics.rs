//! A broken invariant of the subject ends its run as a verdict, with the place and the words of the assertion.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Text of the panic under way, while a run on this thread catches it.
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
    static CATCHING: RefCell<bool> = const { RefCell::new(false) };
}

/// Runs `f`; an unwinding panic becomes its text.
pub fn catch<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |info| {
            if !CATCHING.with_borrow(|catching| *catching) {
                return usual(info);
            }
            let place = info
                .location()
                .map(|at| format!("{}:{}", at.file(), at.line()))
                .unwrap_or_default();
            let payload = info.payload();
            let words = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let words = words
                .or_else(|| payload.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            CAUGHT.set(Some(format!("{words} ({place})")));
        }));
    });
    CATCHING.set(true);
    let result = catch_unwind(AssertUnwindSafe(f));
    CATCHING.set(false);
    result.map_err(|_| CAUGHT.take().unwrap_or_else(|| "a panic without words".to_owned()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_broken_assertion_is_caught_with_its_words_and_place() {
        let text = super::catch(|| assert_eq!(1 + 1, 3, "arithmetic holds")).expect_err("it panics");
        assert!(
            text.contains("arithmetic holds") && text.contains("panics.rs"),
            "{text}"
        );
        assert_eq!(super::catch(|| 7), Ok(7));
    }
}
