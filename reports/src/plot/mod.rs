//! Charts of a run or a sweep: plain data in, one self-contained page out.
//!
//! Every chart has a caption that says what its axes are and how it was measured; nothing is told by colour alone.

mod chart;
pub mod run;
pub mod sweep;

use crate::text::escape;

/// One chart of a page.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What it shows.
    pub title: String,
    /// How to read it.
    pub caption: String,
    /// The chart.
    pub svg: String,
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:960px;margin:2rem auto;padding:0 1rem;\
color:#1a1a1a;background:#fff}figure{margin:2.5rem 0;break-inside:avoid}svg{width:100%;height:auto;background:#fff}\
figcaption{color:#444;max-width:70ch}h1{font-size:1.5rem}h2{font-size:1.15rem;margin:0}code{font-size:.95em}";

/// The page; nothing in it is fetched from anywhere.
pub fn page(title: &str, words: &[String], figures: &[Figure]) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{0}</title><style>{STYLE}</style></head>\n<body><h1>{0}</h1>\n",
        escape(title)
    );
    for line in words {
        html += &format!("<p>{}</p>\n", escape(line));
    }
    for figure in figures {
        // The chart names itself to who cannot see it.
        let role = format!("<svg role=\"img\" aria-label=\"{}\" ", escape(&figure.caption));
        html += &format!(
            "<figure><h2>{}</h2>\n{}<figcaption>{}</figcaption></figure>\n",
            escape(&figure.title),
            figure.svg.replacen("<svg ", &role, 1),
            escape(&figure.caption)
        );
    }
    html + "</body></html>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_whole_and_escapes_what_it_is_given() {
        let figure = Figure {
            title: "a < b".to_owned(),
            caption: "\"quoted\" & more".to_owned(),
            svg: "<svg width=\"1\"></svg>".to_owned(),
        };
        let html = page("x & y", &["<script>".to_owned()], &[figure]);
        assert!(html.starts_with("<!doctype html>") && html.ends_with("</html>\n"));
        assert!(html.contains("<title>x &amp; y</title>") && html.contains("<p>&lt;script&gt;</p>"));
        assert!(html.contains("<h2>a &lt; b</h2>"));
        assert!(html.contains("<svg role=\"img\" aria-label=\"&quot;quoted&quot; &amp; more\" width=\"1\">"));
        assert!(!html.contains("http"), "nothing is fetched");
    }
}
