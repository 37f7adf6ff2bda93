//! What a refusal of bad input looks like: a typed error, exit 125, nothing left.

use super::{Home, Image, Ran};
use serde_json::Value;

/// The last JSON object on standard error: the error, behind whatever else was said.
#[track_caller]
pub fn error_of(ran: &Ran) -> Value {
    ran.err()
        .lines()
        .rev()
        .find_map(|line| {
            serde_json::from_str::<Value>(line)
                .ok()
                .filter(Value::is_object)
        })
        .unwrap_or_else(|| panic!("no JSON error on stderr\n{ran}"))
}

/// Many bad inputs of one home: each must be refused as it says, and nothing may be left by it.
pub struct Refusals<'a> {
    home: &'a Home,
    wrong: Vec<String>,
    tried: usize,
}

impl<'a> Refusals<'a> {
    /// An honest image runs first, so that its layer, on which the bad ones build, is there.
    #[track_caller]
    pub fn new(home: &'a Home) -> Self {
        let honest = Image::toolbox().layout(home, "honest-before-all");
        home.lazaret(["run", "--rm", &honest, "true"]).run().ok();
        Self {
            home,
            wrong: Vec::new(),
            tried: 0,
        }
    }

    /// `lazaret run --rm IMAGE true` must end with 125 and an error of one of `kinds` (`a|b`) whose
    /// cause holds `word`.
    pub fn image(&mut self, case: &str, image: &str, kinds: &str, word: &str) {
        self.run(
            case,
            &["run", "--rm", "--format", "json", image, "true"],
            125,
            kinds,
            word,
        );
    }

    /// Takes in an image that is itself honest, before what is wrong is asked of it.
    #[track_caller]
    pub fn of(self, image: &str) -> Self {
        self.home.lazaret(["run", "--rm", image, "true"]).run().ok();
        self
    }

    /// As [`Refusals::image`], of any command line (with `--format json` in it) and exit code.
    pub fn run(&mut self, case: &str, args: &[&str], code: i32, kinds: &str, word: &str) {
        self.tried += 1;
        let before = self.stored();
        let ran = self.home.lazaret(args).run();
        let complaint = |what: &str| format!("{case}: {what}\n{ran}");
        if ran.code != Some(code) {
            self.wrong
                .push(complaint(&format!("wanted exit code {code}")));
            return;
        }
        let error = ran.err().lines().rev().find_map(|l| {
            serde_json::from_str::<Value>(l)
                .ok()
                .filter(Value::is_object)
        });
        let Some(error) = error else {
            self.wrong.push(complaint("no JSON error on stderr"));
            return;
        };
        let kind = error["kind"].as_str().unwrap_or_default();
        if !kinds.split('|').any(|k| k == kind) {
            self.wrong
                .push(complaint(&format!("wanted kind {kinds}, not {kind}")));
        }
        if !error["cause"].as_str().unwrap_or_default().contains(word) {
            self.wrong
                .push(complaint(&format!("wanted {word:?} in the cause")));
        }
        if !ran.stdout.is_empty() {
            self.wrong.push(complaint("something ran"));
        }
        self.home.clean();
        let after = self.stored();
        let left: Vec<&String> = after.iter().filter(|name| !before.contains(name)).collect();
        if code == 125 && !left.is_empty() {
            self.wrong
                .push(complaint(&format!("left in the store: {left:#?}")));
        }
    }

    /// Unpacked layers, names and containers: what a refused image must not leave.
    fn stored(&self) -> Vec<String> {
        ["layers", "refs", "containers"]
            .iter()
            .flat_map(|dir| {
                super::walk(&self.home.store().join(dir))
                    .into_iter()
                    .map(move |name| format!("{dir}/{name}"))
            })
            .collect()
    }

    /// Fails with everything that was wrong; and an honest image must still run in this home.
    #[track_caller]
    pub fn finish(self) {
        assert!(self.tried > 0);
        assert!(
            self.wrong.is_empty(),
            "{} of {} cases are wrong:\n{}",
            self.wrong.len(),
            self.tried,
            self.wrong.join("\n")
        );
        let honest = Image::toolbox().layout(self.home, "honest-after-all");
        self.home
            .lazaret(["run", "--rm", &honest, "echo", "fine"])
            .run()
            .ok()
            .prints("fine\n");
    }
}
