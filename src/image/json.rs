//! The gate that every untrusted JSON document passes before it becomes a value.
//!
//! RFC 8259 leaves open what a repeated key means and Go's decoder matches names whatever their
//! case, so two readers of the same verified bytes can see two images. What readers may disagree
//! on is refused here, once, for all documents: duplicate keys (at any depth, compared after
//! unescaping), names that differ from the specified ones in case only, arrays where an object is
//! specified (serde would take them), NUL in strings, depth, and bytes after the document.

#![forbid(unsafe_code)]

use super::quote::{plain, quoted};
use crate::error::{Error, Kind, Result};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

/// The deepest nesting of a document; the deepest legitimate one (a config with health checks) has 6.
pub const MAX_DEPTH: usize = 32;

/// From this many keys on, an object's keys are compared through a hash set.
const FEW_KEYS: usize = 24;

/// What kind of document is expected.
#[derive(Debug)]
pub struct Document {
    /// What an error calls it: `manifest`.
    pub what: &'static str,
    /// The size in bytes above which it is not looked at.
    pub max_bytes: u64,
    /// The specified names: another spelling that differs in case only is refused.
    pub names: &'static [&'static str],
    /// Names whose value must be an object (or null).
    pub objects: &'static [&'static str],
    /// Whether the document is an array of objects (docker's manifest.json), not an object.
    pub list: bool,
    /// Names whose value is an object with free keys, where case matters: annotations, labels.
    pub free: &'static [&'static str],
}

/// A document that passed the gate.
#[derive(Debug)]
pub struct Gated<'a> {
    what: &'static str,
    bytes: &'a [u8],
    keys: Vec<String>,
}

/// Passes `bytes` through the gate. `Limit` for size and depth, else `Malformed`.
pub fn gate<'a>(bytes: &'a [u8], document: &Document) -> Result<Gated<'a>> {
    let what = document.what;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > document.max_bytes {
        return Err(Error::new(
            Kind::Limit,
            format!("the {what} is larger than {} bytes", document.max_bytes),
        ));
    }
    let state = State {
        document,
        kind: Cell::new(Kind::Malformed),
    };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let top = Value {
        state: &state,
        depth: 1,
        place: match document.list {
            true => Place::List,
            false => Place::Object,
        },
        free: false,
    };
    let keys = top
        .deserialize(&mut deserializer)
        .and_then(|keys| deserializer.end().map(|()| keys))
        .map_err(|e| refused(what, &e).kind(state.kind.get()))?;
    Ok(Gated { what, bytes, keys })
}

impl Gated<'_> {
    /// Whether the top-level object has this key.
    pub fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|k| k == key)
    }

    /// The document as a value.
    pub fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(self.bytes).map_err(|e| refused(self.what, &e))
    }
}

fn refused(what: &str, error: &serde_json::Error) -> Error {
    Error::new(
        Kind::Malformed,
        format!("the {what} is not valid: {}", plain(&error.to_string())),
    )
}

struct State<'d> {
    document: &'d Document,
    kind: Cell<Kind>,
}

/// Where a value stands, and so what it may be.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// An object, or null below the top.
    Object,
    /// The array of objects that is a whole document.
    List,
    /// An element of an array: anything but an array.
    Element,
    /// The value of a name that is not one of `objects`.
    Any,
}

#[derive(Clone, Copy)]
struct Value<'s, 'd> {
    state: &'s State<'d>,
    depth: usize,
    place: Place,
    free: bool,
}

impl Value<'_, '_> {
    fn below<E: serde::de::Error>(&self, place: Place, free: bool) -> std::result::Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            self.state.kind.set(Kind::Limit);
            return Err(E::custom(format_args!("nested deeper than {MAX_DEPTH}")));
        }
        Ok(Self {
            depth: self.depth + 1,
            place,
            free,
            ..*self
        })
    }

    fn scalar<E: serde::de::Error>(&self) -> std::result::Result<Vec<String>, E> {
        match self.place {
            Place::Object => Err(E::custom("an object is expected here")),
            Place::List => Err(E::custom("an array is expected here")),
            Place::Element | Place::Any => Ok(Vec::new()),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_> {
    /// The object's keys, at the top; nothing below.
    type Value = Vec<String>;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, '_> {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> std::result::Result<Self::Value, E> {
        match self.depth {
            1 => self.scalar(),
            _ => Ok(Vec::new()),
        }
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> std::result::Result<Self::Value, E> {
        self.scalar()
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> std::result::Result<Self::Value, E> {
        self.scalar()
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> std::result::Result<Self::Value, E> {
        self.scalar()
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> std::result::Result<Self::Value, E> {
        self.scalar()
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<Self::Value, E> {
        no_nul(text)?;
        self.scalar()
    }

    fn visit_seq<A: SeqAccess<'de>>(
        self,
        mut sequence: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        let element = match self.place {
            Place::Any => self.below(Place::Element, self.free)?,
            Place::List => self.below(Place::Object, self.free)?,
            // What stands there is nobody's to specify.
            Place::Element if self.free => self.below(Place::Element, true)?,
            Place::Object | Place::Element => {
                return Err(A::Error::custom("an array is not expected here"));
            }
        };
        while sequence.next_element_seed(element)?.is_some() {}
        Ok(Vec::new())
    }

    fn visit_map<A: MapAccess<'de>>(
        self,
        mut map: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        if self.place == Place::List {
            return Err(A::Error::custom("an array is expected here"));
        }
        let document = self.state.document;
        let mut keys = Keys::default();
        while let Some(key) = map.next_key_seed(Key)? {
            if !self.free {
                spelled_as_specified(&key, document)?;
            }
            let place = match !self.free && document.objects.contains(&&*key) {
                true => Place::Object,
                false => Place::Any,
            };
            let free = self.free || document.free.contains(&&*key);
            keys.insert(key)?;
            map.next_value_seed(self.below(place, free)?)?;
        }
        Ok(match self.depth {
            1 => keys.few.into_iter().map(Cow::into_owned).collect(),
            _ => Vec::new(),
        })
    }
}

/// Go's decoder takes `Layers` for `layers`; a reader that does not would see another document.
fn spelled_as_specified<E: serde::de::Error>(
    key: &str,
    document: &Document,
) -> std::result::Result<(), E> {
    // Bundles specify `keyId` and `keyid`, each in its place.
    if document.names.contains(&key) {
        return Ok(());
    }
    let variant = document
        .names
        .iter()
        .find(|name| name.eq_ignore_ascii_case(key));
    match variant {
        Some(name) => Err(E::custom(format_args!(
            "key {} is another spelling of {name:?}",
            quoted(key)
        ))),
        None => Ok(()),
    }
}

fn no_nul<E: serde::de::Error>(text: &str) -> std::result::Result<(), E> {
    match text.contains('\0') {
        true => Err(E::custom("a string contains NUL")),
        false => Ok(()),
    }
}

/// The keys of one object: in a vector, and in a hash set besides once they are many.
#[derive(Default)]
struct Keys<'de> {
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

impl<'de> Keys<'de> {
    fn insert<E: serde::de::Error>(&mut self, key: Cow<'de, str>) -> std::result::Result<(), E> {
        let known = match self.few.len() {
            0..FEW_KEYS => self.few.contains(&key),
            count => {
                if count == FEW_KEYS {
                    self.many.extend(self.few.iter().cloned());
                }
                !self.many.insert(key.clone())
            }
        };
        if known {
            return Err(E::custom(format_args!(
                "key {} appears twice in one object",
                quoted(&key)
            )));
        }
        self.few.push(key);
        Ok(())
    }
}

struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: serde::de::Error>(
        self,
        text: &'de str,
    ) -> std::result::Result<Self::Value, E> {
        no_nul(text)?;
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<Self::Value, E> {
        no_nul(text)?;
        Ok(Cow::Owned(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: Document = Document {
        what: "test document",
        max_bytes: 1000,
        names: &["layers", "config", "annotations"],
        objects: &["config"],
        list: false,
        free: &["annotations"],
    };

    fn refusal(text: &str) -> Error {
        gate(text.as_bytes(), &DOCUMENT).expect_err(text)
    }

    #[test]
    fn an_ordinary_document_passes_and_keeps_its_keys() {
        let text =
            r#" {"layers": [{"a": 1, "b": [true, null, -2, 0.5]}], "config": null, "x": "y"} "#;
        let gated = gate(text.as_bytes(), &DOCUMENT).unwrap();
        assert!(gated.has("layers") && gated.has("config") && gated.has("x"));
        assert!(!gated.has("a") && !gated.has("manifests"));
        let value: serde_json::Value = gated.read().unwrap();
        assert_eq!(value["layers"][0]["b"][2], -2);
    }

    #[test]
    fn duplicate_keys_are_refused_at_any_depth_and_however_escaped() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"x":{"a":1,"b":2,"a":1}}"#,
            r#"{"x":[{"a":1,"a":{}}]}"#,
            r#"{"layers":1,"\u006cayers":2}"#,
            r#"{"annotations":{"k":"1","k":"2"}}"#,
        ] {
            let error = refusal(text);
            assert_eq!(error.kind, Kind::Malformed);
            assert!(error.cause.contains("appears twice"), "{text}: {error}");
        }
        for count in [FEW_KEYS - 1, FEW_KEYS, FEW_KEYS + 1, FEW_KEYS + 2, 60] {
            let keys: Vec<String> = (0..count).map(|i| format!("\"{i}\":0")).collect();
            let honest = format!("{{{}}}", keys.join(","));
            assert!(gate(honest.as_bytes(), &DOCUMENT).is_ok());
            for again in [0, count / 2, count - 1] {
                let text = format!("{{{},\"{again}\":0}}", keys.join(","));
                assert!(
                    refusal(&text).cause.contains("appears twice"),
                    "{count} {again}"
                );
            }
        }
    }

    #[test]
    fn another_case_of_a_specified_name_is_refused_except_in_free_maps() {
        assert!(
            refusal(r#"{"Layers":[]}"#)
                .cause
                .contains("another spelling")
        );
        assert!(
            refusal(r#"{"x":[{"CONFIG":{}}]}"#)
                .cause
                .contains("another spelling")
        );
        let free = r#"{"annotations":{"Layers":"","x":"","X":"","config":"text"}}"#;
        assert!(gate(free.as_bytes(), &DOCUMENT).is_ok());
    }

    #[test]
    fn arrays_do_not_stand_for_objects() {
        for text in [
            "[]",
            "1",
            "null",
            "\"x\"",
            "true",
            r#"{"config":["a"]}"#,
            r#"{"config":1}"#,
            r#"{"x":[[]]}"#,
        ] {
            assert_eq!(refusal(text).kind, Kind::Malformed, "{text}");
        }
    }

    #[test]
    fn a_list_is_an_array_of_objects() {
        let list = |text: &str| {
            let document = Document {
                list: true,
                ..DOCUMENT
            };
            gate(text.as_bytes(), &document).is_ok()
        };
        assert!(list("[]") && list("[{}, {\"x\": [1]}]"));
        for text in ["{}", "null", "1", "[1]", "[[]]", "[{\"a\":1,\"a\":1}]"] {
            assert!(!list(text), "{text}");
        }
    }

    #[test]
    fn nul_is_refused_in_values_and_keys() {
        for text in [
            r#"{"a":"x\u0000y"}"#,
            r#"{"a":["\u0000"]}"#,
            r#"{"a\u0000":1}"#,
        ] {
            assert!(refusal(text).cause.contains("NUL"), "{text}");
        }
    }

    #[test]
    fn depth_is_capped() {
        let nested = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert!(gate(nested(MAX_DEPTH - 1).as_bytes(), &DOCUMENT).is_ok());
        for depth in [MAX_DEPTH, MAX_DEPTH + 1, 150] {
            assert_eq!(refusal(&nested(depth)).kind, Kind::Limit, "{depth}");
        }
    }

    #[test]
    fn bytes_after_the_document_and_broken_documents_are_refused() {
        for text in [
            "{} {}",
            "{}x",
            "{",
            "",
            "{\"a\":1,}",
            "{\"a\":\"\\ud800\"}",
            "\u{feff}{}",
            "{\"a\":1e999}",
        ] {
            assert_eq!(refusal(text).kind, Kind::Malformed, "{text}");
        }
        assert!(gate(b"{\"a\":\"\xff\"}", &DOCUMENT).is_err());
        assert!(gate(b"{} \n", &DOCUMENT).is_ok());
    }

    #[test]
    fn size_is_capped_before_anything_is_read() {
        let padded = |size: usize| format!("{{{}}}", " ".repeat(size - 2));
        assert!(gate(padded(1000).as_bytes(), &DOCUMENT).is_ok());
        assert_eq!(refusal(&padded(1001)).kind, Kind::Limit);
        assert_eq!(refusal(&"x".repeat(1001)).kind, Kind::Limit);
    }

    #[test]
    fn a_documents_words_are_harmless_in_an_error() {
        let error = refusal("{\"\\u001b[31m\":1,\"\\u001b[31m\":1}");
        assert!(!error.cause.contains('\x1b'));
        let gated = gate(b"{\"a\":\"\\u001b[31m\"}", &DOCUMENT).unwrap();
        #[derive(serde::Deserialize, Debug)]
        #[expect(dead_code)]
        struct A {
            a: u8,
        }
        let error = gated.read::<A>().unwrap_err();
        assert!(
            error.cause.contains("[31m") && !error.cause.contains('\x1b'),
            "{error}"
        );
    }
}
