//! A file of lines that begins anew when it is large, with some of its predecessors kept.
//!
//! `decisions.log` is the newest, `decisions.log.1` the one before it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::writer::write_all;

/// Only for who runs Postern: addresses and names of clients are in it.
const MODE: u32 = 0o600;

/// The file that is written, and how it is replaced.
#[derive(Debug)]
pub struct RotatingFile {
    path: PathBuf,
    file: File,
    size: u64,
    most: u64,
    kept: usize,
}

impl RotatingFile {
    /// Goes on with the file where it is there. A line that would make it larger than `most` bytes
    /// goes into the next one; `kept` of those before are kept.
    ///
    /// # Errors
    /// It cannot be opened for writing.
    pub fn open(path: PathBuf, most: u64, kept: usize) -> io::Result<Self> {
        let file = append(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, file, size, most, kept })
    }

    pub(super) fn write(&mut self, lines: &[Vec<u8>]) -> io::Result<()> {
        let mut lines = lines;
        while !lines.is_empty() {
            let fits = self.fitting(lines);
            // A line that is larger than a file gets a file of its own.
            let (now, later) = match lines.split_at_checked(fits.max(usize::from(self.size == 0))) {
                Some(parts) => parts,
                None => (lines, &[][..]),
            };
            if now.is_empty() {
                self.rotate()?;
                continue;
            }
            let bytes: usize = now.iter().map(Vec::len).sum();
            write_all(&mut self.file, now)?;
            self.size = self.size.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
            lines = later;
        }
        Ok(())
    }

    /// How many of these lines go into this file.
    fn fitting(&self, lines: &[Vec<u8>]) -> usize {
        let mut size = self.size;
        let fits = |line: &&Vec<u8>| {
            size = size.saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX));
            size <= self.most
        };
        lines.iter().take_while(fits).count()
    }

    fn rotate(&mut self) -> io::Result<()> {
        if self.kept == 0 {
            self.file.set_len(0)?;
            self.size = 0;
            return Ok(());
        }
        for number in (1..self.kept).rev() {
            rename(&numbered(&self.path, number), &numbered(&self.path, number + 1))?;
        }
        rename(&self.path, &numbered(&self.path, 1))?;
        self.file = append(&self.path)?;
        self.size = self.file.metadata()?.len();
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(MODE).open(path)
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        // Somebody else has tidied up.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn lines(texts: &[&str]) -> Vec<Vec<u8>> {
        texts.iter().map(|text| format!("{text}\n").into_bytes()).collect()
    }

    fn read(folder: &Path) -> Vec<(String, String)> {
        let mut files: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, fs::read_to_string(path).unwrap().replace('\n', " "))
            })
            .collect();
        files.sort();
        files
    }

    fn shown(files: &[(String, String)]) -> Vec<(&str, &str)> {
        files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect()
    }

    #[test]
    fn the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.log");
        let mut file = RotatingFile::open(path.clone(), 6, 2).unwrap();
        file.write(&lines(&["a", "b", "c", "d"])).unwrap();
        assert_eq!(shown(&read(folder.path())), [("d.log", "d "), ("d.log.1", "a b c ")]);
        drop(file);
        // Another process goes on.
        let mut file = RotatingFile::open(path.clone(), 6, 2).unwrap();
        file.write(&lines(&["e", "f", "long line", "g", "h", "i"])).unwrap();
        let expected = [("d.log", "g h i "), ("d.log.1", "long line "), ("d.log.2", "d e f ")];
        assert_eq!(shown(&read(folder.path())), expected);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
    }

    #[test]
    fn with_none_kept_it_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = RotatingFile::open(folder.path().join("d.log"), 4, 0).unwrap();
        file.write(&lines(&["a", "b", "c"])).unwrap();
        assert_eq!(shown(&read(folder.path())), [("d.log", "c ")]);
    }

    #[test]
    fn files_that_somebody_removed_are_not_missed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.log");
        let mut file = RotatingFile::open(path.clone(), 2, 3).unwrap();
        file.write(&lines(&["a", "b", "c"])).unwrap();
        fs::remove_file(folder.path().join("d.log.1")).unwrap();
        fs::remove_file(&path).unwrap();
        file.write(&lines(&["d"])).unwrap();
        assert_eq!(shown(&read(folder.path())), [("d.log", "d "), ("d.log.3", "a ")]);
    }
}
