//! Refuses file systems on which SQLite's shared memory and locks do not work between machines.
#![cfg_attr(target_os = "linux", expect(unsafe_code, reason = "statfs has no wrapper in std"))]

use std::path::Path;

use crate::contract::TransportError;

/// Magic numbers of network and cluster file systems (statfs(2)).
#[cfg(target_os = "linux")]
const NETWORK: [(u64, &str); 13] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB2"),
    (0x0102_1997, "9p"),
    (0x00C3_6400, "Ceph"),
    (0x5346_414F, "AFS"),
    (0x7375_7245, "Coda"),
    (0x0BD0_0BD0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0x0116_1970, "GFS2"),
    (0x7461_636F, "OCFS2"),
];

#[cfg(target_os = "linux")]
const FUSE: u64 = 0x6573_5546;

/// What stands behind a FUSE mount only its type tells; these are remote.
#[cfg(target_os = "linux")]
const REMOTE_FUSE: [&str; 14] = [
    "sshfs",
    "s3fs",
    "gcsfuse",
    "glusterfs",
    "ceph",
    "rclone",
    "juicefs",
    "davfs",
    "curlftpfs",
    "goofys",
    "mount-s3",
    "blobfuse",
    "moosefs",
    "seaweedfs",
];

/// Fails if `file`, which need not exist, lies on a network file system.
pub(crate) fn check(file: &Path) -> Result<(), TransportError> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    match network_kind(folder) {
        None => Ok(()),
        Some(kind) => Err(TransportError::Config(format!(
            "cannot keep a broker in '{}': the folder is on a network file system ({kind}), where SQLite's shared \
             memory and locks do not reach other machines and the file would be damaged; use a local disk, or a broker \
             with a server; `stat -f -c %T '{}'` shows the type; '?allow_network_fs=true' overrides this if only one \
             machine ever opens the file",
            file.display(),
            folder.display()
        ))),
    }
}

#[cfg(target_os = "linux")]
fn network_kind(folder: &Path) -> Option<String> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(folder.as_os_str().as_bytes()).ok()?;
    // SAFETY: an all-zero statfs is a valid value; it is only read after the call succeeded.
    let mut facts: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` ends in a zero byte and `facts` is writable; both outlive the call.
    if unsafe { libc::statfs(path.as_ptr(), &raw mut facts) } != 0 {
        return None; // opening the file will say why
    }
    #[expect(clippy::cast_sign_loss, reason = "a bit pattern; wider than 32 bits on some targets")]
    let magic = facts.f_type as u64 & 0xFFFF_FFFF;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    classify(magic, || mount_type(&mounts, folder))
}

#[cfg(not(target_os = "linux"))]
fn network_kind(_folder: &Path) -> Option<String> {
    None
}

#[cfg(target_os = "linux")]
fn classify(magic: u64, fuse_type: impl FnOnce() -> Option<String>) -> Option<String> {
    if magic == FUSE {
        let kind = fuse_type()?;
        let name = kind.strip_prefix("fuse.").unwrap_or(&kind);
        return REMOTE_FUSE.iter().any(|remote| name.contains(remote)).then_some(kind);
    }
    NETWORK.iter().find(|(known, _)| *known == magic).map(|(_, name)| (*name).to_owned())
}

/// Type of the mount that holds `folder`: the longest mount point that is a prefix of it; of equals the last mounted.
#[cfg(target_os = "linux")]
fn mount_type(mounts: &str, folder: &Path) -> Option<String> {
    let mut best: Option<(usize, &str)> = None;
    for line in mounts.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let Some(point) = left.split(' ').nth(4) else { continue };
        let point = point.replace("\\040", " ");
        if folder.starts_with(&point) && best.is_none_or(|(length, _)| point.len() >= length) {
            best = Some((point.len(), right.split(' ').next().unwrap_or_default()));
        }
    }
    best.map(|(_, kind)| kind.to_owned())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{FUSE, check, classify, mount_type};
    use std::path::Path;

    #[test]
    fn network_types_are_named_and_local_ones_pass() {
        assert_eq!(classify(0x6969, || None).as_deref(), Some("NFS"));
        assert_eq!(classify(0xFF53_4D42, || None).as_deref(), Some("CIFS"));
        assert_eq!(classify(0xEF53, || None), None); // ext4
        assert_eq!(classify(FUSE, || Some("fuse.sshfs".into())).as_deref(), Some("fuse.sshfs"));
        assert_eq!(classify(FUSE, || Some("fuseblk".into())), None); // a local NTFS disk
        check(&std::env::temp_dir().join("x.db")).unwrap();
    }

    #[test]
    fn the_deepest_mount_point_counts() {
        let mounts = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:9 / /mnt/my\\040share rw shared:1 - fuse.sshfs x rw\n";
        assert_eq!(mount_type(mounts, Path::new("/mnt/my share/deep")).as_deref(), Some("fuse.sshfs"));
        assert_eq!(mount_type(mounts, Path::new("/mnt/mine")).as_deref(), Some("ext4"));
    }
}
