//! Programs that pack, encode and digest, many of them with threads.

use crate::compat::row::{Row, row};

const LINES: &str = "cp $INPUTS/lines .";
const TREE: &str = "cp -a $INPUTS/tree .";

/// The rows.
pub fn rows() -> Vec<Row> {
    vec![
        row("xz -T2", "xz-utils", "packs 8 MB with two threads", &["xz", "-T2", "-1", "-k", "lines"])
            .setup(LINES)
            .files(&["lines.xz"]),
        row("xz", "xz-utils", "packs 8 MB with one thread", &["xz", "-T1", "-1", "-k", "lines"])
            .setup(LINES)
            .files(&["lines.xz"]),
        row("zstd -T2", "zstd", "packs 32 MB with two threads", &["zstd", "-T2", "-q", "big"])
            .setup("cat $INPUTS/lines $INPUTS/lines $INPUTS/lines $INPUTS/lines >big")
            .files(&["big.zst"]),
        row("pigz", "pigz", "packs 8 MB with two threads", &["pigz", "-p2", "-n", "-k", "lines"])
            .setup(LINES)
            .files(&["lines.gz"]),
        row("gzip", "gzip", "packs 8 MB", &["gzip", "-n", "-k", "lines"])
            .setup(LINES)
            .files(&["lines.gz"]),
        row("bzip2", "bzip2", "packs 8 MB", &["bzip2", "-k", "lines"])
            .setup(LINES)
            .files(&["lines.bz2"]),
        row(
            "tar",
            "tar",
            "packs a tree through gzip and unpacks it",
            &["sh", "-c", "tar czf t.tgz --sort=name --mtime=@0 tree && mkdir x && tar xzf t.tgz -C x && diff -r tree x/tree && tar tvf t.tgz | cksum"],
        )
        .setup(TREE)
        .also(&["gzip", "diff"]),
        row("rsync", "rsync", "copies a tree, in two processes", &["rsync", "-a", "tree/", "copy/"])
            .setup(TREE)
            .files(&["copy/directory-3/file-7"]),
        row(
            "ffmpeg mpeg4",
            "ffmpeg",
            "encodes a test picture of two seconds as MPEG-4",
            &["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=duration=2:size=640x480:rate=25", "-c:v", "mpeg4", "-threads", "2", "-bitexact", "out.avi"],
        )
        .version("ffmpeg -version")
        .files(&["out.avi"]),
        row(
            "ffmpeg x264",
            "ffmpeg",
            "encodes a test picture of two seconds as H.264",
            &["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=duration=2:size=320x240:rate=25", "-c:v", "libx264", "-threads", "2", "-bitexact", "out.mp4"],
        )
        .version("ffmpeg -version")
        .files(&["out.mp4"]),
        row("openssl dgst", "openssl", "digests 4 MB four ways", &["sh", "-c", "for d in md5 sha256 sha512 blake2b512; do openssl dgst -$d noise; done"])
            .version("openssl version")
            .setup("cp $INPUTS/noise ."),
        row(
            "openssl enc",
            "openssl",
            "encrypts 4 MB",
            &["openssl", "enc", "-aes-256-cbc", "-K", "00112233445566778899aabbccddeeff", "-iv", "000102030405060708090a0b0c0d0e0f", "-in", "noise", "-out", "secret"],
        )
        .version("openssl version")
        .setup("cp $INPUTS/noise .")
        .files(&["secret"]),
        row("openssl genrsa", "openssl", "makes a key of 2048 bits and checks it", &["sh", "-c", "openssl genrsa -out key 2048 && openssl rsa -in key -check -noout"])
            .version("openssl version"),
        row("openssl speed", "openssl", "measures sha256 for a second (status only)", &["openssl", "speed", "-seconds", "1", "-bytes", "1024", "sha256"])
            .version("openssl version")
            .status_only(),
        row("openssl speed -multi", "openssl", "measures sha256 in two processes (status only)", &["openssl", "speed", "-multi", "2", "-seconds", "1", "-bytes", "1024", "sha256"])
            .version("openssl version")
            .status_only(),
        row("sha256sum", "coreutils", "digests 4 MB and 8 MB", &["sha256sum", "noise", "lines"])
            .setup("cp $INPUTS/noise $INPUTS/lines ."),
    ]
}
