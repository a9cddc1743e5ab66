//! What is asked of every view: a picture in light and dark on desk and phone, nothing sideways, nothing that axe-core
//! finds serious, buttons for fingers, a silent console.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::driver::{Browser, Look};
use crate::harness::gateway::SANDBOX;

/// Keeps what the content security policy reports, in a world of the tests' own.
pub const WATCHER: &str = "globalThis.reports = []; \
    addEventListener('securitypolicyviolation', (report) => reports.push(\
        `${report.violatedDirective} forbids ${report.blockedURI} at ${report.sourceFile}:${report.lineNumber}`));";

/// Where nothing is pressed with a finger.
const DESK_FROM: u32 = 900;

/// What a finger needs, in pixels.
const FINGER: u32 = 44;

/// A taller view is cut: nobody looks at more.
const TALLEST: u64 = 6000;

const AXE: &str = "axe.run({
    resultTypes: ['violations'], elementRef: false, rules: {'target-size': {enabled: true}},
}).then(({violations}) => violations
    .filter(({impact}) => impact === 'serious' || impact === 'critical')
    .flatMap(({id, impact, help, nodes}) => nodes.map(({target, failureSummary}) =>
        `${impact} ${id}: ${help}: ${target.join(' ')}: ${failureSummary.split('\\n').slice(1).map((one) => one.trim()).join('; ')}`)))";

/// Waits until what was asked for is drawn; answers the height of the view.
pub const DRAWN: &str = "new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(() => drawn(\
    document.querySelector('dialog[open]') ? 0 : document.documentElement.scrollHeight))))";

/// What is wider than the window, and what is cut off where nothing can be scrolled.
const SIDEWAYS: &str = "const root = document.documentElement; \
    const name = (one) => `${one.localName}.${one.getAttribute('class')} ${one.textContent.trim().slice(0, 40)}`; \
    const all = [...document.querySelectorAll('body *')].filter((one) => one.checkVisibility() && !one.closest('.sr, .skip')); \
    const over = (one) => getComputedStyle(one).overflowX; \
    const scrolls = (one) => one && one !== document.body && (['auto', 'scroll'].includes(over(one)) \
        || getComputedStyle(one).textOverflow === 'ellipsis' || scrolls(one.parentElement)); \
    const wide = all.filter((one) => one.getBoundingClientRect().right > root.clientWidth + 1 && !scrolls(one)); \
    const cut = all.filter((one) => ['hidden', 'clip'].includes(over(one)) && one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 1 && !scrolls(one)); \
    const leaves = (list) => list.filter((one) => !list.some((other) => other !== one && one.contains(other)) && !one.closest('.nav')); \
    const found = [...leaves(wide).map((one) => `sticks out: ${name(one)}`), ...leaves(cut).map((one) => `cut off in ${name(one)}`)].slice(0, 6); \
    return root.scrollWidth > root.clientWidth ? [`the page is ${root.scrollWidth} wide`, ...found] : found";

/// What moves by itself, or would when it changes.
const MOVES: &str = "const named = (one) => `${one?.localName}.${one?.getAttribute('class')}`; \
    const styles = (one) => [null, '::before', '::after'].map((part) => getComputedStyle(one, part)); \
    const slow = ({transitionDuration, scrollBehavior}) => scrollBehavior === 'smooth' \
        || transitionDuration.split(',').some((one) => parseFloat(one) > 0); \
    return [...document.getAnimations().filter(({playState}) => playState === 'running') \
            .map(({effect}) => `${named(effect.target)}${effect.pseudoElement ?? ''} moves`), \
        ...[...document.querySelectorAll('*')].filter((one) => styles(one).some(slow)).map((one) => `${named(one)} changes slowly`)]";

/// `screenshots` in the target folder.
pub fn pictures_folder() -> PathBuf {
    target_folder().join("screenshots")
}

fn target_folder() -> PathBuf {
    Path::new(SANDBOX).ancestors().nth(2).unwrap().to_owned()
}

/// axe-core, from where `tests/install` puts it.
fn axe_core() -> String {
    let folder = target_folder().join("browser");
    let file = folder.join("node_modules/axe-core/axe.min.js");
    std::fs::read_to_string(&file).unwrap_or_else(|_| {
        panic!(
            "the check of accessibility needs axe-core: run tests/run, or `tests/install tests/browser {}` once",
            folder.display()
        )
    })
}

impl Browser {
    /// Looks at the view as it stands: light and dark, desk and phone. Each time it is photographed into
    /// `target/screenshots/NAME-SCHEME-WIDTH.png`, must not scroll sideways, must have nothing that axe-core finds
    /// serious, nothing that moves although the system asks for less motion, no button too small for a finger. Then the console must be empty.
    pub async fn inspect(&self, name: &str) {
        let before = self.looks();
        let mut faults = Vec::new();
        for width in [390, 1280] {
            for scheme in ["light", "dark"] {
                self.picture(name, scheme, width).await;
                for wide in self.sideways().await {
                    faults.push(format!("{scheme} {width}: {wide}"));
                }
                // Finding out about the rest is dear; it does not depend on the colours.
                let rest = scheme == "light";
                for fault in self.axe(rest).await {
                    faults.push(format!("{scheme} {width}: {fault}"));
                }
                if rest {
                    faults.extend(self.moves().await);
                }
                if rest && width < DESK_FROM {
                    faults.extend(self.small_buttons().await);
                }
            }
        }
        self.look(before).await;
        assert!(
            faults.is_empty(),
            "{name}, pictures in {}: {faults:#?}",
            pictures_folder().display()
        );
        let complaints = self.complaints().await;
        assert!(complaints.is_empty(), "{name}: the console shows: {complaints:#?}");
    }

    /// One picture of the whole view, for people; leaves the page looking so.
    pub async fn picture(&self, name: &str, scheme: &'static str, width: u32) {
        let look = Look {
            scheme,
            width,
            height: 900,
            // What is under way is shown where it stands.
            still: true,
        };
        self.look(look).await;
        let tall = self.evaluate(DRAWN, None).await.as_u64().unwrap();
        if tall > 900 {
            let height = u32::try_from(tall.min(TALLEST)).unwrap();
            self.look(Look { height, ..look }).await;
            self.evaluate(DRAWN, None).await;
        }
        let picture = self
            .cdp("Page.captureScreenshot", json!({"optimizeForSpeed": true}))
            .await;
        let picture = STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        let folder = pictures_folder();
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}-{scheme}-{width}.png")), picture).unwrap();
    }

    /// What makes the page scroll sideways or is cut off at its edge.
    pub async fn sideways(&self) -> Vec<String> {
        lines(&self.run(SIDEWAYS).await)
    }

    /// What moves by itself, or would when it changes.
    pub async fn moves(&self) -> Vec<String> {
        lines(&self.run(MOVES).await)
    }

    /// What axe-core finds serious; `all` of it, or in the colours only. It runs in a world of its own, where the
    /// page's content security policy does not count and the page does not see it.
    async fn axe(&self, all: bool) -> Vec<String> {
        let world = self.world().await;
        if self.evaluate("typeof axe", Some(world)).await == "undefined" {
            self.evaluate(&format!("{}; 0", axe_core()), Some(world)).await;
        }
        let run = if all {
            AXE.to_owned()
        } else {
            AXE.replace("resultTypes", "runOnly: ['color-contrast'], resultTypes")
        };
        lines(&self.evaluate(&run, Some(world)).await)
    }

    /// What the content security policy has reported since the last time.
    pub async fn violations(&self) -> Vec<String> {
        let world = self.world().await;
        lines(&self.evaluate("globalThis.reports?.splice(0) ?? []", Some(world)).await)
    }

    /// The number of the tests' own world in the page.
    async fn world(&self) -> u64 {
        let tree = self.cdp("Page.getFrameTree", json!({})).await;
        let frame = &tree["frameTree"]["frame"]["id"];
        let world = json!({"frameId": frame, "worldName": "tests"});
        let made = self.cdp("Page.createIsolatedWorld", world).await;
        made["executionContextId"].as_u64().unwrap()
    }

    /// Buttons that a finger misses: what answers around their middle is lower or narrower than a finger. Parts of a
    /// sentence may be as high as its line.
    async fn small_buttons(&self) -> Vec<String> {
        let script = format!(
            "const answers = (one, x, y) => {{ const hit = document.elementFromPoint(x, y); return hit && one.contains(hit); }}; \
            const reach = (one, x, y, dx, dy) => {{ \
                let step = 0; \
                while (step < {FINGER} && answers(one, x + dx * (step + 1), y + dy * (step + 1))) step += 1; \
                return step; \
            }}; \
            return [...document.querySelectorAll('button, a.btn, select, summary, .nav a')] \
                .filter((one) => one.checkVisibility() && !one.closest('[inert]')) \
                .filter((one) => !document.querySelector('dialog:modal') || one.closest('dialog:modal')) \
                .map((one) => {{ \
                    const box = one.getBoundingClientRect(); \
                    const at = [one, box.x + box.width / 2, box.y + box.height / 2]; \
                    const enough = (length, dx, dy) => length >= {FINGER} - 0.5 || reach(...at, -dx, -dy) + reach(...at, dx, dy) + 1 >= {FINGER}; \
                    return !box.width || (enough(box.height, 0, 1) && enough(box.width, 1, 0)) ? null : \
                        `a finger misses ${{one.localName}}.${{one.className}} \
                        (${{one.getAttribute('aria-label') ?? one.textContent.trim()}}): ${{box.width}} × ${{box.height}}`; \
                }}).filter(Boolean)"
        );
        lines(&self.run(&script).await)
    }
}

fn lines(list: &Value) -> Vec<String> {
    let list = list.as_array().expect("a list");
    list.iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}
