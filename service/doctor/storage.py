"""The data folder, the registry's disk, and the file of the admin key."""

import os
import stat

from service.auth.keys import admin_key_path
from service.doctor.core import Finding, Setup, combine, failed, ok, warning
from service.doctor.readonly import nearest_existing, sqlite_path
from service.registry.sqlite import RESERVE_BYTES
from service.settings.model import check_first_key

MIB = 2**20
LOW_INODES = 100


def data_folder(setup: Setup) -> Finding:
    """Check that the data folder can be written or created, and that other users cannot write in it."""
    folder = setup.settings.data_dir
    nearest = nearest_existing(folder)
    user = os.geteuid()
    if not nearest.is_dir():
        return failed(f"{nearest} is not a folder", "set ADAKRON_DATA_DIR to another path")
    if not os.access(nearest, os.R_OK | os.W_OK | os.X_OK):
        return failed(f"user {user} cannot write in {nearest}", f"chown {user} {nearest}, or set ADAKRON_DATA_DIR")
    if nearest != folder.absolute():
        return ok(f"{folder.absolute()} is created at the first start")
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & stat.S_IWOTH:
        return warning(f"all users can write in {folder.absolute()} (mode {mode:04o})", f"chmod o-w {folder}")
    return ok(f"{folder.absolute()} (mode {mode:04o})")


def disk(setup: Setup) -> Finding:
    """Check that the registry's disk has room for uploads."""
    path = sqlite_path(setup.settings.resolved_registry_url)
    if path is None:
        return ok("not checked: uploads go to the disk of the database")
    place = nearest_existing(path)
    found = os.statvfs(place)
    free = found.f_bavail * found.f_frsize
    shown = f"{free / MIB:,.0f} MiB free at {place}"
    remedy = "free space, or delete versions"
    if free < RESERVE_BYTES:
        return failed(f"{shown}: nothing can be published (507)", remedy)
    if found.f_files and found.f_favail < LOW_INODES:
        return failed(f"{found.f_favail} inodes free at {place}", "delete small files")
    if free < setup.settings.max_uploads * setup.settings.max_upload_bytes:
        return warning(f"{shown}: less than the uploads that may arrive at once", remedy)
    return ok(shown)


def admin_key(setup: Setup) -> Finding:
    """Check the file of the first key: only the server's user may read it."""
    if setup.settings.admin_key is not None:
        return ok("from ADAKRON_ADMIN_KEY")
    path = admin_key_path(setup.settings)
    if not path.exists():
        return ok(f"{path} is created at the first start")
    mode = stat.S_IMODE(path.stat().st_mode)
    findings = [ok(f"{path} (mode {mode:04o})")]
    if mode & 0o077:
        findings.append(failed("other users may read or change the key", f"chmod 600 {path}"))
    try:
        check_first_key(path.read_text().strip())
    except OSError as error:
        findings.append(failed(f"it cannot be read: {error.strerror}", f"chown {os.geteuid()} {path}, or delete it"))
    except UnicodeDecodeError:
        findings.append(failed("it cannot be read: it is not text", f"delete {path}: the next start creates a new one"))
    except ValueError as error:
        findings.append(failed(f"it holds no key: {error}", f"delete {path}: the next start creates a new one"))
    return combine(findings)
