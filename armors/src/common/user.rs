//! The user that an application is run as.
//!
//! Invariant: an ARMOR that has turned into another user is that one for good, with its groups and with
//! nothing left of root; what it makes, opens, writes and starts from then on is that user's. Used by the EXECUTION
//! ARMOR and the VOTER before they touch anything of their application.

use std::ffi::CString;
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::Path;

use nix::unistd::{User, geteuid, initgroups, setgid, setuid};

/// A user of this node.
///
/// # Errors
/// There is none of this name, or this process cannot become that user: in words.
fn find(name: &str) -> Result<User, String> {
    let user = User::from_name(name)
        .map_err(|error| format!("user '{name}' cannot be looked up on this node: {error}"))?
        .ok_or_else(|| format!("there is no user '{name}' on this node"))?;
    let own = geteuid();
    if own.is_root() || own == user.uid {
        return Ok(user);
    }
    let own = User::from_uid(own).ok().flatten().map_or(own.to_string(), |own| own.name);
    Err(format!(
        "this node's daemon is user '{own}' and not root, so it runs nothing as user '{name}'"
    ))
}

/// Turns this process into a user.
///
/// # Errors
/// As [`find`], or of the kernel: in words.
pub(crate) fn turn_into(name: &str) -> Result<User, String> {
    let user = find(name)?;
    if geteuid() == user.uid {
        return Ok(user);
    }
    let groups = || {
        let name = CString::new(name).map_err(|_| nix::errno::Errno::EINVAL)?;
        initgroups(&name, user.gid)?;
        // First what only root may.
        setgid(user.gid)?;
        setuid(user.uid)
    };
    groups().map_err(|error| format!("this process cannot become user '{name}': {error}"))?;
    Ok(user)
}

/// Makes a directory for what is an application's, which its user alone may look into, and turns into that user
/// if one is named.
///
/// # Errors
/// In words.
pub(crate) fn home(directory: &Path, user: Option<&str>) -> Result<Option<User>, String> {
    let wrong = |error: std::io::Error| format!("{}: {error}", directory.display());
    if let Some(above) = directory.parent() {
        std::fs::create_dir_all(above).map_err(wrong)?;
    }
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(wrong(error)),
        _ => {}
    }
    let Some(name) = user else { return Ok(None) };
    let user = find(name)?;
    if geteuid().is_root() {
        chown(directory, Some(user.uid.as_raw()), Some(user.gid.as_raw())).map_err(wrong)?;
    }
    let user = turn_into(name)?;
    std::fs::metadata(directory).map_err(|error| {
        let path = directory.display();
        format!(
            "user '{name}' does not get to {path}: {error}; let others go through the directories above it (chmod o+x)"
        )
    })?;
    Ok(Some(user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_there_is_said_and_ones_own_name_changes_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let error = home(&scratch.path().join("a"), Some("no-such-user")).unwrap_err();
        assert!(error.contains("there is no user 'no-such-user'"), "{error}");
        let own = User::from_uid(geteuid()).unwrap().unwrap();
        let user = home(&scratch.path().join("b/c"), Some(&own.name)).unwrap().unwrap();
        assert_eq!((user.uid, geteuid()), (own.uid, own.uid));
    }
}
