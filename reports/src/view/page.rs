//! The view as one HTML file that asks the network for nothing.
//!
//! The parts in `reports/assets` are put into the frame as they are; the data is packed in a script element that no browser
//! runs. A content security policy forbids every request, so that a mistake cannot make one either.

use super::View;
use crate::text::escape;
use base64::prelude::{BASE64_STANDARD, Engine};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use std::io::Write;

const FRAME: &str = include_str!("../../assets/frame.html");
const STYLES: [&str; 2] = [
    include_str!("../../assets/style.css"),
    include_str!("../../assets/print.css"),
];
const DOM: &str = include_str!("../../assets/dom.js");
/// In the order in which they use each other.
const SCRIPTS: [&str; 9] = [
    include_str!("../../assets/data.js"),
    DOM,
    include_str!("../../assets/filter.js"),
    include_str!("../../assets/diagram.js"),
    include_str!("../../assets/picture.js"),
    include_str!("../../assets/panels.js"),
    include_str!("../../assets/quiz.js"),
    include_str!("../../assets/scrubber.js"),
    include_str!("../../assets/main.js"),
];

/// The file.
pub fn page(view: &View) -> String {
    fill(|part| match part {
        "title" => escape(&view.title),
        "policy" => String::new(),
        "styles" => STYLES.concat(),
        "data" => format!(
            "<script type=\"text/plain\" id=\"view\">{}</script>\n\
             <script type=\"text/plain\" id=\"scripts\">'use strict';\n{}</script>",
            pack(view),
            SCRIPTS.concat()
        ),
        "scripts" => include_str!("../../assets/unpack.js").to_owned(),
        _ => unreachable!("the frame asks for {part}"),
    })
}

/// The page that plays: it asks its own host for runs, and shows each in a frame.
pub fn play_page() -> String {
    fill(|part| match part {
        "title" => "play".to_owned(),
        "policy" => "; connect-src 'self'; frame-src 'self'".to_owned(),
        "styles" => include_str!("../../assets/play/play.css").to_owned(),
        "data" => String::new(),
        "scripts" => [DOM, include_str!("../../assets/play/play.js")].concat(),
        _ => unreachable!("the frame asks for {part}"),
    })
}

/// The frame with its parts.
fn fill(part: impl Fn(&str) -> String) -> String {
    let mut out = String::new();
    // Whatever is inserted is not looked at again: a name in the data cannot stand for a part of the page.
    let mut rest = FRAME;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").expect("the frame closes what it opens");
        out += before;
        out += &part(name);
        rest = after;
    }
    out + rest
}

/// The view as JSON, gzipped, in base64: nothing in it is markup. In a page: `sed -n 's/.*id="view">\([^<]*\).*/\1/p'`,
/// `base64 -d`, `gunzip`.
fn pack(view: &View) -> String {
    let json = serde_json::to_vec(view).expect("a view is JSON");
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    let packed = packed.write_all(&json).and_then(|()| packed.finish());
    BASE64_STANDARD.encode(packed.expect("memory takes all"))
}

/// The view that a page holds; `None` if it is no such page.
pub fn unpack(page: &str) -> Option<View> {
    let (_, rest) = page.split_once("id=\"view\">")?;
    let (packed, _) = rest.split_once('<')?;
    let packed = BASE64_STANDARD.decode(packed).ok()?;
    serde_json::from_reader(GzDecoder::new(&packed[..])).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_data_is_markup() {
        let view = View {
            title: "</title><script>alert(1)</script> {{scripts}}".to_owned(),
            about: "</script><img src=x onerror=alert(1)>".to_owned(),
            ..View::default()
        };
        let page = page(&view);
        assert!(!page.contains("<script>alert"), "the title is text");
        assert!(!page.contains("<img src=x"), "the data is text");
        assert_eq!(
            page.matches("{{scripts}}").count(),
            1,
            "what is inserted is not looked at again"
        );
        assert_eq!(unpack(&page), Some(view));
    }

    #[test]
    fn the_page_names_no_other_place() {
        let page = page(&View::default());
        for word in [
            "http://",
            "https://",
            "src=",
            "@import",
            "url(",
            "fetch(",
            "XMLHttpRequest",
        ] {
            // The name space of drawings is a name, not an address.
            let page = page.replace("http://www.w3.org/2000/svg", "");
            assert!(!page.contains(word), "{word}");
        }
        assert!(page.contains("default-src 'none'"));
    }
}
