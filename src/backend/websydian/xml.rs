//! Strict reading of small XML documents: elements, namespaces, attributes and text. A document type,
//! an entity of one's own or a processing instruction is refused, and so is too much of anything, before
//! anything is made of it.

use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};
use quick_xml::reader::NsReader;

/// Deepest nesting. A SOAP message that asks one thing needs four.
const DEEPEST: usize = 8;
/// Most elements.
const MOST_ELEMENTS: usize = 64;

/// One element with all that is in it.
#[derive(Debug, Default)]
pub(super) struct Element {
    /// Empty where it is in none.
    pub namespace: String,
    /// Without its prefix.
    pub name: String,
    /// All text directly in it, in one piece.
    pub text: String,
    /// In order.
    pub children: Vec<Element>,
    /// Namespace, name and value. Attributes that declare namespaces are none.
    attributes: Vec<(String, String, String)>,
}

/// Why a document was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum XmlError {
    /// Cut off, badly nested, a prefix that nobody declared, a character that XML does not know.
    #[error("it is not well-formed XML")]
    IllFormed,
    /// A `DOCTYPE`, a processing instruction, or an entity beyond the five that every reader knows.
    #[error("document types, processing instructions and entities of one's own are not read")]
    Forbidden,
    /// More than a message of this kind can need.
    #[error("it is nested too deeply, or has too many elements")]
    TooMuch,
    /// Another encoding than UTF-8.
    #[error("it must be in UTF-8")]
    Encoding,
}

impl Element {
    /// The value of an attribute.
    pub fn attribute(&self, namespace: &str, name: &str) -> Option<&str> {
        let mut attributes = self.attributes.iter();
        attributes.find_map(|(space, held, value)| (space == namespace && held == name).then_some(value.as_str()))
    }

    /// Whether nothing but blanks stands between its children.
    pub fn has_only_children(&self) -> bool {
        self.text.trim().is_empty()
    }

    fn read(start: &BytesStart<'_>, namespace: String, reader: &NsReader<&[u8]>) -> Result<Self, XmlError> {
        let mut element = Self { namespace, name: start.local_name().into_inner().to_owned(), ..Self::default() };
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|_| XmlError::IllFormed)?;
            if attribute.key.as_namespace_binding().is_some() {
                continue;
            }
            let (space, name) = reader.resolver().resolve_attribute(attribute.key);
            let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0);
            let value = value.map_err(|_| XmlError::Forbidden)?.into_owned();
            element.attributes.push((name_of(space)?, name.into_inner().to_owned(), value));
        }
        Ok(element)
    }
}

/// Reads a whole document.
///
/// # Errors
/// [`XmlError`]; nothing of the document is repeated in it.
pub(super) fn read(text: &str) -> Result<Element, XmlError> {
    let mut reader = NsReader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    reader.config_mut().check_comments = true;
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    let mut elements = 0;
    for position in 0_usize.. {
        let (namespace, event) = reader.read_resolved_event().map_err(|_| XmlError::IllFormed)?;
        let namespace = name_of(namespace);
        match event {
            Event::Start(start) => {
                elements += 1;
                if open.len() == DEEPEST || elements > MOST_ELEMENTS {
                    return Err(XmlError::TooMuch);
                }
                if root.is_some() {
                    return Err(XmlError::IllFormed);
                }
                open.push(Element::read(&start, namespace?, &reader)?);
            }
            Event::End(_) => {
                let ended = open.pop().ok_or(XmlError::IllFormed)?;
                match open.last_mut() {
                    Some(parent) => parent.children.push(ended),
                    None => root = Some(ended),
                }
            }
            Event::Text(text) => append(&mut open, &text.xml10_content())?,
            Event::CData(text) if !open.is_empty() => append(&mut open, &text.xml10_content())?,
            Event::GeneralRef(name) if !open.is_empty() => {
                let character = name.resolve_char_ref().map_err(|_| XmlError::IllFormed)?;
                let character = character.map(String::from);
                let known =
                    character.or_else(|| quick_xml::escape::resolve_predefined_entity(&name).map(str::to_owned));
                append(&mut open, &known.ok_or(XmlError::Forbidden)?)?;
            }
            Event::Decl(declaration) if position == 0 => match declaration.encoding() {
                Some(Ok(name)) if !name.eq_ignore_ascii_case("utf-8") && !name.eq_ignore_ascii_case("us-ascii") => {
                    return Err(XmlError::Encoding);
                }
                Some(Err(_)) => return Err(XmlError::IllFormed),
                _ => {}
            },
            Event::Comment(_) => {}
            Event::DocType(_) | Event::PI(_) => return Err(XmlError::Forbidden),
            Event::Eof if open.is_empty() => break,
            _ => return Err(XmlError::IllFormed),
        }
    }
    root.ok_or(XmlError::IllFormed)
}

fn name_of(resolved: ResolveResult<'_>) -> Result<String, XmlError> {
    match resolved {
        ResolveResult::Bound(Namespace(name)) => Ok(name.to_owned()),
        ResolveResult::Unbound => Ok(String::new()),
        ResolveResult::Unknown(_) => Err(XmlError::IllFormed),
    }
}

/// Text outside of all elements may only be blank.
fn append(open: &mut [Element], text: &str) -> Result<(), XmlError> {
    let allowed = |character: char| {
        matches!(character, '\t' | '\n' | '\r') || !(character < ' ' || matches!(character, '\u{fffe}' | '\u{ffff}'))
    };
    match open.last_mut() {
        Some(element) if text.chars().all(allowed) => element.text.push_str(text),
        None if text.trim_matches([' ', '\t', '\n', '\r']).is_empty() => {}
        _ => return Err(XmlError::IllFormed),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_out_with_namespace_and_text() {
        let read = read(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><!-- c -->\n<a:x xmlns:a=\"urn:a\" xmlns=\"urn:b\" a:k=\"v&amp;\">\
             <y>1&amp;&#50;<![CDATA[<&>]]>\u{fc}</y><z xmlns=\"\"/></a:x>\n",
        )
        .unwrap();
        assert_eq!((read.namespace.as_str(), read.name.as_str()), ("urn:a", "x"));
        assert_eq!(read.attribute("urn:a", "k"), Some("v&"));
        assert_eq!(read.attribute("", "k"), None);
        let [y, z] = &read.children[..] else { panic!("{read:?}") };
        assert_eq!((y.namespace.as_str(), y.text.as_str()), ("urn:b", "1&2<&>\u{fc}"));
        assert_eq!((z.namespace.as_str(), z.name.as_str()), ("", "z"));
    }

    #[test]
    fn whatever_a_message_has_no_use_for_is_refused() {
        let nested = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        let many = format!("<a>{}</a>", "<b/>".repeat(MOST_ELEMENTS));
        for (text, error) in [
            ("", XmlError::IllFormed),
            ("text", XmlError::IllFormed),
            ("<a>", XmlError::IllFormed),
            ("<a></b>", XmlError::IllFormed),
            ("<a/><b/>", XmlError::IllFormed),
            ("<a/>text", XmlError::IllFormed),
            ("<a/><![CDATA[x]]>", XmlError::IllFormed),
            ("&lt;<a/>", XmlError::IllFormed),
            ("<p:a/>", XmlError::IllFormed),
            ("<a p:k=''/>", XmlError::IllFormed),
            ("<a k='1' k='2'/>", XmlError::IllFormed),
            ("<a>\u{1}</a>", XmlError::IllFormed),
            ("<a>&#0;</a>", XmlError::IllFormed),
            ("<a>&#x1;</a>", XmlError::IllFormed),
            ("<a>&amp</a>", XmlError::IllFormed),
            ("<a/><?xml version='1.0'?>", XmlError::IllFormed),
            ("<?xml version='1.0' encoding='iso-8859-1'?><a/>", XmlError::Encoding),
            ("<?xml version='1.0' encoding='utf-16'?><a/>", XmlError::Encoding),
            ("<!DOCTYPE a><a/>", XmlError::Forbidden),
            ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", XmlError::Forbidden),
            ("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", XmlError::Forbidden),
            ("<a>&b;</a>", XmlError::Forbidden),
            ("<a k='&b;'/>", XmlError::Forbidden),
            ("<?php ?><a/>", XmlError::Forbidden),
            (&nested(DEEPEST + 1), XmlError::TooMuch),
            (&nested(5_000), XmlError::TooMuch),
            (&many, XmlError::TooMuch),
        ] {
            assert_eq!(read(text).err(), Some(error), "{}", &text[..text.len().min(80)]);
        }
        assert!(read(&nested(DEEPEST)).is_ok());
    }
}
