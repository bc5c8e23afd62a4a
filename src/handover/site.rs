use url::Url;

use super::Entrance;
use crate::domain::{EnterTerms, SessionKeys, WayIn};

/// Below it are Keyward's own pages.
const OURS: &str = "/.keyward";

/// An application as one browser sees it: where it is, and what lies before it.
pub(super) struct Site<'a> {
    pub entrance: &'a Entrance,
    /// Where browsers see the application.
    address: Url,
    /// Whether Keyward stands before it there, so that the browser needs the portal's session and no key.
    pub is_guarded: bool,
}

impl<'a> Site<'a> {
    /// The one that these entrances, all of one back-end, lead somebody at this origin to: at the `wanted`
    /// host, at their own, or at the first there is.
    pub fn of(entrances: &[&'a Entrance], origin: &Url, wanted: Option<&Url>) -> Option<Self> {
        let at = |url: &Url| entrances.iter().find(|one| Some(one.host.as_str()) == url.host_str());
        let entrance = *wanted.and_then(at).or_else(|| at(origin)).or(entrances.first())?;
        let address = match &entrance.backend.enter().url {
            Some(url) => url.clone(),
            None => {
                let mut address = origin.clone();
                address.set_host(Some(&entrance.host)).ok()?;
                // A route to our own pages only says who may enter.
                address.set_path(if is_below(&entrance.path, OURS) { "/" } else { &entrance.path });
                address
            }
        };
        let is_guarded = entrances.iter().any(|one| {
            address.host_str() == Some(one.host.as_str()) && is_below(address.path().trim_end_matches('/'), &one.path)
        });
        Some(Self { entrance, address, is_guarded })
    }

    pub fn terms(&self) -> &'a EnterTerms {
        self.entrance.backend.enter()
    }

    /// The application's own origin.
    pub fn origin(&self) -> String {
        self.address.origin().ascii_serialization()
    }

    /// Whether somebody at this origin is on the application's own host. Cookies do not tell ports.
    pub fn is_at(&self, origin: &Url) -> bool {
        self.address.host() == origin.host()
    }

    /// The origin of the portal's pages: of those that are listed the one where people sign in, else the
    /// first. Where none is, the portal's cookie is seen at the application's own.
    pub fn portal(&self) -> String {
        let sign_in = self.entrance.portals.first().login_origin();
        let sign_in = sign_in.map(|address| address.origin().ascii_serialization());
        let terms = self.terms();
        let own = sign_in.filter(|origin| terms.lists(origin)).or_else(|| terms.origins.first().cloned());
        own.unwrap_or_else(|| self.origin())
    }

    /// Where the hand-over begins at this origin.
    pub fn way_in(&self, origin: &str) -> WayIn {
        WayIn::at(origin, self.entrance.backend.name())
    }

    /// The application's first page with these keys.
    pub fn first_page(&self, keys: &SessionKeys) -> String {
        format!("{}{}", self.address.as_str().trim_end_matches('/'), self.entrance.backend.entry(keys))
    }

    /// The address to go on to, if it is allowed: one of those that are listed, given back as it was
    /// configured, or a page of the application where its requests are judged anyhow.
    pub fn return_address(&self, asked: &str) -> Option<Url> {
        let asked = Url::parse(asked).ok()?;
        if let Some(listed) = self.terms().return_to.iter().find(|listed| **listed == asked) {
            return Some(listed.clone());
        }
        let own = self.is_guarded
            && asked.origin() == self.address.origin()
            && asked.username().is_empty()
            && asked.password().is_none()
            && is_below(asked.path(), self.address.path().trim_end_matches('/'))
            // Ours are no pages of the application, and one of them signs people out.
            && !is_below(asked.path(), OURS);
        own.then_some(asked)
    }

    /// The vendor's script with the keys in it and the way back.
    pub fn sso_init(&self, template: &str, keys: &SessionKeys, back: &str) -> String {
        let value = |pair: &str| pair.split_once('=').map_or("", |(_, value)| value).to_owned();
        let cookie = value(keys.cookies().split("; ").next().unwrap_or_default());
        let mut filled = String::new();
        // One pass, so that nothing in a value is taken for a place.
        for (index, piece) in template.split('{').enumerate() {
            let Some((place, rest)) = piece.split_once('}').filter(|_| index > 0) else {
                filled.push_str(piece);
                continue;
            };
            let value = match place {
                "cookie" => &cookie,
                "h" => &value(keys.query()),
                _ => back,
            };
            filled.extend(percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC));
            filled.push_str(rest);
        }
        filled
    }
}

/// Whether a path is this prefix of whole segments, or below it.
fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
