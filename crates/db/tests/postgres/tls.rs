//! Which server certificates are trusted.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use db::{Db, Error};
use testing::Cluster;

use crate::{SCHEMA, cluster, migrate, patient, until, url};

fn openssl(folder: &Path, arguments: &str) {
    let made = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
    let made = made.expect("openssl is installed");
    assert!(made.status.success(), "{arguments}: {}", String::from_utf8_lossy(&made.stderr));
}

/// Two authorities, and a certificate for `localhost` by the first.
fn certificates() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    for authority in ["ours", "others"] {
        let name = format!("-subj /CN={authority} -keyout {authority}.key -out {authority}.crt");
        openssl(path, &format!("req -x509 {key} {name}"));
    }
    openssl(
        path,
        &format!("req {} -subj /CN=server -keyout server.key -out server.csr", {
            key.trim_end_matches(" -days 2")
        }),
    );
    fs::write(path.join("names"), "subjectAltName=DNS:localhost\n").expect("it can be written");
    openssl(
        path,
        "x509 -req -in server.csr -CA ours.crt -CAkey ours.key -CAcreateserial \
                   -days 2 -extfile names -out server.crt",
    );
    folder
}

/// Makes the server use TLS with these certificates.
fn show(cluster: &Cluster, certificates: &Path) {
    let data = PathBuf::from(cluster.sql("postgres", "SHOW data_directory").concat().concat());
    let owner = fs::metadata(&data).expect("the folder is there");
    for name in ["server.crt", "server.key"] {
        let file = data.join(name);
        fs::copy(certificates.join(name), &file).expect("it can be copied");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("it is ours");
        chown(&file, Some(owner.uid()), Some(owner.gid())).expect("it may be given away");
    }
    cluster.sql("postgres", "ALTER SYSTEM SET ssl = on");
    cluster.sql("postgres", "SELECT pg_reload_conf()");
    until(|| cluster.sql("postgres", "SHOW ssl") == [["on"]]);
}

/// Whether a connection with these parameters is encrypted, or why there is none.
async fn encrypted(cluster: &Cluster, host: &str, parameters: &str) -> Result<bool, Error> {
    let address = format!("postgres://postgres@{host}:{}/postgres?{parameters}", cluster.port());
    let db = Db::open(&url(&address, patient()), SCHEMA)?;
    db.read(|tx| {
        let ssl = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        tx.query_one(ssl, &[], |row| row.flag(0))
    })
    .await
}

#[tokio::test]
async fn a_certificate_is_checked_as_sslmode_says() {
    let Some(cluster) = cluster() else { return };
    migrate(&cluster.url("postgres"));
    let loopback = "127.0.0.1";
    let refused = |result: &Result<bool, Error>| matches!(result, Err(Error::Unavailable(_)));
    for mode in ["disable", "prefer"] {
        let plain = encrypted(&cluster, loopback, &format!("sslmode={mode}")).await;
        assert_eq!(plain, Ok(false), "{mode} where the server has no TLS");
    }
    for mode in ["require", "verify-ca", "verify-full"] {
        let none = encrypted(&cluster, loopback, &format!("sslmode={mode}")).await;
        assert!(refused(&none), "{mode} where the server has no TLS: {none:?}");
    }

    let made = certificates();
    show(&cluster, made.path());
    let trusting = |authority: &str| {
        let file = made.path().join(authority).display().to_string();
        format!("sslrootcert={}", file.replace('/', "%2F"))
    };
    let (ours, others) = (trusting("ours.crt"), trusting("others.crt"));
    for (host, parameters, expected) in [
        (loopback, "sslmode=disable".to_owned(), false),
        (loopback, "sslmode=prefer".to_owned(), true),
        (loopback, String::new(), true),
        (loopback, "sslmode=require".to_owned(), true),
        (loopback, format!("sslmode=require&{ours}"), true),
        (loopback, format!("sslmode=verify-ca&{ours}"), true),
        ("localhost", format!("sslmode=verify-full&{ours}"), true),
    ] {
        let result = encrypted(&cluster, host, &parameters).await;
        assert_eq!(result, Ok(expected), "{parameters} at {host}");
    }
    for (host, parameters) in [
        (loopback, format!("sslmode=require&{others}")),
        (loopback, format!("sslmode=verify-ca&{others}")),
        (loopback, "sslmode=verify-ca".to_owned()),
        (loopback, format!("sslmode=verify-full&{ours}")),
        ("localhost", format!("sslmode=verify-full&{others}")),
        ("localhost", "sslmode=verify-full".to_owned()),
    ] {
        let result = encrypted(&cluster, host, &parameters).await;
        assert!(refused(&result), "{parameters} at {host}: {result:?}");
    }
    for nothing in ["missing.crt", "server.key"] {
        let result =
            encrypted(&cluster, loopback, &format!("sslmode=verify-ca&{}", { trusting(nothing) }))
                .await;
        assert!(matches!(result, Err(Error::Certificates(_))), "{nothing}: {result:?}");
    }
}
