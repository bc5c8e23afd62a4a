use std::borrow::Cow;
use std::collections::HashMap;

use crate::domain::Identity;

/// The words of one portal for its roles, and ours. Routes, headers and back-ends know ours alone.
pub(super) struct RoleMap(HashMap<String, Vec<String>>);

impl RoleMap {
    /// From pairs of the portal's word and ours; a word may stand in several. Of none, roles stay as they are.
    pub(super) fn new(pairs: Vec<(String, String)>) -> Self {
        let mut map: HashMap<String, Vec<String>> = HashMap::new();
        for (theirs, ours) in pairs {
            map.entry(theirs).or_default().push(ours);
        }
        Self(map)
    }

    /// Whether no role of theirs is left out because it could not be joined with others.
    pub(super) fn has_words_for(&self, identity: &Identity<'_>) -> bool {
        !self.0.is_empty() || identity.can_be_joined()
    }

    /// Gives the identity our words; what the map does not name is left out. Without a map a role with a comma
    /// is left out: where roles are joined it would be two, and one of them somebody else's.
    pub(super) fn translate<'a>(&'a self, identity: &mut Identity<'a>) {
        if !self.0.is_empty() {
            let ours = |theirs: &Cow<'_, str>| self.0.get(theirs.as_ref()).into_iter().flatten();
            identity.change_roles(|theirs| theirs.iter().flat_map(ours).map(Cow::from).collect());
        } else if !identity.can_be_joined() {
            identity.change_roles(|theirs| theirs.iter().filter(|role| !role.contains(',')).cloned().collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(map: &[(&str, &str)], roles: &[&str]) -> Vec<String> {
        let map = RoleMap::new(map.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect());
        let roles = roles.iter().map(|role| (*role).into()).collect();
        let mut identity = Identity::new("ana", "Ana", "", roles).unwrap();
        map.translate(&mut identity);
        assert_eq!((identity.user(), identity.name()), ("ana", "Ana"), "nothing else of them changes");
        identity.roles().iter().map(|role| role.as_ref().to_owned()).collect()
    }

    #[test]
    fn a_role_becomes_ours_whatever_the_portal_calls_it() {
        const GROUP: &str = "cn=Büro \\, Nord,ou=groups,dc=example,dc=test";
        let map = [
            (GROUP, "office"),
            ("realm.admin", "admin"),
            ("/Kunden/Geschäft", "customer"),
            ("both", "office"),
            ("both", "admin"),
            ("one of two", "customer"),
        ];
        for (theirs, ours) in [
            (&[GROUP][..], &["office"][..]),
            (&["realm.admin", "/Kunden/Geschäft"], &["admin", "customer"]),
            (&["both"], &["office", "admin"]),
            (&["one of two", "/Kunden/Geschäft"], &["customer"]),
            (&["both", GROUP, "realm.admin"], &["office", "admin"]),
            // Whole words alone, letter by letter, and none of ours that the portal happens to say.
            (&["realm", "realm.admin.x", "Realm.Admin", "admin", "office", "cn=Büro", ""][..6], &[]),
            (&[], &[]),
        ] {
            assert_eq!(translated(&map, theirs), ours, "{theirs:?}");
        }
    }

    #[test]
    fn without_a_map_roles_stay_but_for_those_that_would_be_two() {
        assert_eq!(translated(&[], &["b", "a", "x y"]), ["b", "a", "x y"]);
        assert_eq!(translated(&[], &["x,admin", "a", ","]), ["a"]);
    }
}
