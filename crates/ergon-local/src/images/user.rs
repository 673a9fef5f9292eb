//! Who a process in a container is, found in the image's own account files.

use serde::{Deserialize, Serialize};

use super::ImageError;

/// Numbers as the kernel wants them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups.
    #[serde(default)]
    pub groups: Vec<u32>,
    /// The home directory, when the image's `/etc/passwd` names one.
    #[serde(default)]
    pub home: Option<String>,
}

/// Reads `uid`, `name`, `uid:gid`, `name:group` or nothing, which is root.
/// A number need not be in the files; a name must be.
pub(super) fn find(wanted: &str, passwd: &str, group: &str) -> Result<User, ImageError> {
    let (user, group_wanted) = match wanted.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (wanted, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number = user.parse::<u32>().ok();
    let account = passwd
        .lines()
        .filter_map(Account::parse)
        .find(|account| account.name == user || Some(account.uid) == number);
    let (uid, account_gid) = match (number, &account) {
        // The number was asked for, whatever somebody may have as a name.
        (Some(uid), Some(account)) if account.uid == uid => (uid, account.gid),
        (Some(uid), _) => (uid, 0),
        (None, Some(account)) => (account.uid, account.gid),
        (None, None) => return Err(ImageError::UnknownUser { user: user.to_owned(), file: "passwd" }),
    };
    let account = account.filter(|account| account.uid == uid);
    let gid = match group_wanted {
        None => account_gid,
        Some(text) => match text.parse() {
            Ok(gid) => gid,
            Err(_) => group_lines(group)
                .find(|(name, ..)| *name == text)
                .map(|(_, gid, _)| gid)
                .ok_or_else(|| ImageError::UnknownUser { user: text.to_owned(), file: "group" })?,
        },
    };
    // As Docker has it: naming a group leaves the others out.
    let groups = match (&account, group_wanted) {
        (Some(account), None) => group_lines(group)
            .filter(|(_, id, members)| *id != gid && members.split(',').any(|name| name == account.name))
            .map(|(_, id, _)| id)
            .collect(),
        _ => Vec::new(),
    };
    let home = account.and_then(|account| account.home).map(str::to_owned);
    Ok(User { uid, gid, groups, home })
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: Option<&'a str>,
}

impl<'a> Account<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1).filter(|home| !home.is_empty());
        Some(Self { name, uid, gid, home })
    }
}

fn group_lines(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some((name, gid, fields.next().unwrap_or("")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnotes\nbuild:x:1000:100:,,,:/home/build:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nusers:x:100:build\nwheel:x:10:root,build\ndocker:x:999:other\n";

    #[test]
    fn numbers_and_names_are_found() {
        let root = |gid| User { uid: 0, gid, groups: vec![], home: Some("/root".into()) };
        let build = |gid, groups| User { uid: 1000, gid, groups, home: Some("/home/build".into()) };
        for (wanted, found) in [
            ("", User { groups: vec![10], ..root(0) }),
            ("root:docker", root(999)),
            ("build", build(100, vec![10])),
            ("1000", build(100, vec![10])),
            ("build:wheel", build(10, vec![])),
            ("build:7", build(7, vec![])),
            ("4711", User { uid: 4711, gid: 0, groups: vec![], home: None }),
            ("4711:4712", User { uid: 4711, gid: 4712, groups: vec![], home: None }),
        ] {
            assert_eq!(find(wanted, PASSWD, GROUP).unwrap(), found, "{wanted}");
        }
    }

    #[test]
    fn an_unknown_name_is_an_error() {
        for (wanted, file) in [("nobody", "/etc/passwd"), ("root:nobody", "/etc/group")] {
            let error = find(wanted, PASSWD, GROUP).unwrap_err().to_string();
            assert!(error.contains("`nobody`") && error.contains(file), "{error}");
        }
    }
}
