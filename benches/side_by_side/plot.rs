//! The ratios as a picture: a bar for each, and the middle half of its rounds as whiskers. Its colours are for a light
//! and for a dark page.

use std::fmt::Write;

use crate::common::figures::Spread;

const WIDTH: f64 = 760.0;
/// Where bars begin, after their names.
const LEFT: f64 = 250.0;
/// Where the longest whisker ends, before its figure.
const RIGHT: f64 = 690.0;
const TOP: f64 = 64.0;
const ROW: f64 = 36.0;
const BAR: f64 = 18.0;

/// One bar.
pub struct Bar {
    pub name: String,
    pub ratio: Spread,
    /// Whether all others are measured by it.
    pub is_reference: bool,
}

/// The picture as SVG.
pub fn draw(bars: &[Bar]) -> String {
    let most = bars.iter().map(|bar| bar.ratio.high.max(bar.ratio.median)).fold(1.0, f64::max);
    let most = (most * 4.0).ceil() / 4.0;
    let at = |ratio: f64| LEFT + (RIGHT - LEFT) * ratio / most;
    let bottom = ROW.mul_add(bars.len() as f64, TOP);
    let height = bottom + 34.0;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"
  role="img" aria-labelledby="title">
<title id="title">Processor time of a request, in parts of what nginx takes for return 200</title>
<style>
  text {{ font: 14px system-ui, sans-serif; fill: #1f2328 }}
  .head {{ font-weight: 600; font-size: 15px }}
  .small {{ font-size: 12px; fill: #59636e }}
  .end {{ text-anchor: end }}
  .middle {{ text-anchor: middle }}
  .bar {{ fill: #0969da }}
  .reference {{ fill: #818b98 }}
  .grid {{ stroke: #d1d9e0 }}
  .one {{ stroke: #1f2328; stroke-dasharray: 4 3 }}
  .whisker {{ stroke: #1f2328; stroke-width: 1.5 }}
  @media (prefers-color-scheme: dark) {{
    text {{ fill: #f0f6fc }}
    .small {{ fill: #9198a1 }}
    .bar {{ fill: #4493f8 }}
    .reference {{ fill: #656c76 }}
    .grid {{ stroke: #3d444d }}
    .one, .whisker {{ stroke: #f0f6fc }}
  }}
</style>
<text class="head" x="12" y="24">Processor time of a request</text>
<text class="small" x="12" y="44">
  in parts of what nginx takes for “return 200” with the same bytes; whiskers: the middle half of the rounds
</text>
"##
    );
    let mut line = |text: std::fmt::Arguments<'_>| {
        // To a string, it always can be written.
        let _ = writeln!(svg, "{text}");
    };
    let ticks = (most / 0.25) as usize;
    for ratio in (0..=ticks).step_by(if ticks > 10 { 2 } else { 1 }).map(|tick| tick as f64 * 0.25) {
        let x = at(ratio);
        line(format_args!(r#"<line class="grid" x1="{x:.1}" y1="{TOP}" x2="{x:.1}" y2="{bottom}"/>"#));
        line(format_args!(r#"<text class="small middle" x="{x:.1}" y="{:.1}">{ratio}</text>"#, bottom + 18.0));
    }
    for (row, Bar { name, ratio: Spread { median, low, high }, is_reference }) in bars.iter().enumerate() {
        let middle = ROW.mul_add(row as f64 + 0.5, TOP);
        let (class, baseline) = (if *is_reference { "reference" } else { "bar" }, middle + 5.0);
        line(format_args!(r#"<text class="end" x="{:.1}" y="{baseline:.1}">{}</text>"#, LEFT - 10.0, escaped(name)));
        line(format_args!(
            r#"<rect class="{class}" x="{LEFT}" y="{:.1}" width="{:.1}" height="{BAR}" rx="2"/>"#,
            middle - BAR / 2.0,
            at(*median) - LEFT
        ));
        if high > low {
            let (low, high, above) = (at(*low), at(*high), middle - 5.0);
            let shape = format!("M{low:.1} {above:.1}v10m0-5H{high:.1}m0-5v10");
            line(format_args!(r#"<path class="whisker" fill="none" d="{shape}"/>"#));
        }
        let figure = at(high.max(*median)) + 8.0;
        line(format_args!(r#"<text x="{figure:.1}" y="{baseline:.1}">{median:.2}</text>"#));
    }
    let one = at(1.0);
    line(format_args!(r#"<line class="one" x1="{one:.1}" y1="{TOP}" x2="{one:.1}" y2="{bottom}"/>"#));
    line(format_args!("</svg>"));
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
