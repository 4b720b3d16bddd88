//! Certificates as files, for programs that read them from disk.

use erps::{TestCa, TestCertificate};

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

/// A directory with the files `ca`, `certificate` and `key`, removed on drop.
#[derive(Debug)]
pub(crate) struct Pem(PathBuf);

impl Pem {
    pub(crate) fn new(ca: &TestCa, own: &TestCertificate) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Relaxed);
        let directory = env::temp_dir().join(format!("erps-pem-{}-{number}", process::id()));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("ca"), ca.pem()).unwrap();
        fs::write(directory.join("certificate"), &own.certificate).unwrap();
        fs::write(directory.join("key"), &own.key).unwrap();
        Self(directory)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Pem {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
