"""h5py and h5dump read what libmanta_hdf5 writes, and it reads what h5py writes.

    test_h5py.py EXCHANGE

Runs itself with the system's python3 where another one has no h5py.
"""
import os
import shutil
import subprocess
import sys
import tempfile

SKIP = 77
SYSTEM = "/usr/bin/python3"

try:
    import h5py
    import numpy as np
except ImportError:
    if os.path.exists(SYSTEM) and not os.environ.get("MANTA_TEST_AGAIN"):
        os.environ["MANTA_TEST_AGAIN"] = "1"
        os.execv(SYSTEM, [SYSTEM, *sys.argv])
    print("skipped: no h5py here (Debian: python3-h5py)")
    sys.exit(SKIP)

exchange = sys.argv[1]
EXPECTED = [[0, 1, 2], [3, 4, 100]]
NUMBERS = ("int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64", "complex64",
           "complex128")


def run(*args):
    done = subprocess.run([exchange, *args], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def h5py_reads_what_we_write(path):
    run("write", path)
    with h5py.File(path, "r") as file:
        for name in NUMBERS:
            data = file[name]
            assert data.dtype == np.dtype(name), (name, data.dtype)
            assert data.shape == (2, 3) and (data[...] == np.array(EXPECTED)).all(), (name, data[...])
            assert data.compression == "gzip" and data.shuffle and data.chunks == (2, 3), name
        assert file["group/int64"].dtype == np.int64 and (file["group/int64"][...] == EXPECTED).all()
        assert file["bool"].dtype == np.bool_ and file["bool"][...].tolist() == [[True, False, True], [False, False, True]]
        short = file["bfloat16"]
        assert (short.astype("f4")[...] == np.array(EXPECTED)).all(), short.astype("f4")[...]


def h5dump_reads_what_we_write(path):
    tool = shutil.which("h5dump")
    if not tool:
        print("not here: h5dump (Debian: hdf5-tools)")
        return
    text = subprocess.run([tool, "-d", "/group/int64", path], capture_output=True, text=True, check=True, timeout=60).stdout
    assert "H5T_STD_I64LE" in text and "(0,0): 0, 1, 2," in text and "(1,0): 3, 4, 100" in text, text
    text = subprocess.run([tool, "-p", "-d", "/complex64", path], capture_output=True, text=True, check=True, timeout=60).stdout
    assert '"r"' in text and "PREPROCESSING SHUFFLE" in text and "DEFLATE { LEVEL 5 }" in text, text


def we_read_what_h5py_writes(path):
    made = {}
    with h5py.File(path, "w") as file:
        for name in (*NUMBERS, "int64", "bool"):
            made[name] = np.array(EXPECTED).astype(name)
            file.create_dataset(name, data=made[name], chunks=(1, 2), compression="gzip", shuffle=True)
        made["big/endian"] = np.array([1.5, -2.5], ">f8")
        file["big/endian"] = made["big/endian"]
        made["big/integer"] = np.array([[1], [2]], ">i4")
        file["big/integer"] = made["big/integer"]
        made["scalar"] = np.float32(7.25)
        file["scalar"] = made["scalar"]
        made["struct"] = np.array([(1, 2.5), (3, 4.5)], np.dtype([("a", "i4"), ("b", "f8")], align=True))
        file["struct"] = made["struct"]
        made["text"] = np.array([b"four", b"five"], "S4")
        file["text"] = made["text"]
        made["opaque"] = np.array([b"\1\2\3", b"\4\5\6"], "V3")
        file["opaque"] = made["opaque"]
    names = {"big/endian": "float64", "big/integer": "int32", "scalar": "float32", "struct": "bytes", "text": "bytes",
             "opaque": "bytes"}
    lines = run("read", path, *made).splitlines()
    assert len(lines) == len(made)
    for line, (name, data) in zip(lines, made.items()):
        layout, _, content = line.partition(" : ")
        native = data.astype(data.dtype.newbyteorder("="))
        shape = "".join(f" {extent}" for extent in data.shape)
        assert layout == f"{name} {names.get(name, name)} {data.dtype.itemsize}{shape}", layout
        if name == "struct": # what lies between its members is not defined
            content = "".join(content[at:at + 8] + "00000000" + content[at + 16:at + 32] for at in (0, 32))
            native = np.array([(int(row["a"]), float(row["b"])) for row in data], data.dtype)
            native = np.frombuffer(b"".join(np.int64(row["a"]).tobytes() + row["b"].tobytes() for row in native), "u1")
        assert bytes.fromhex(content) == native.tobytes(), (name, content)


with tempfile.TemporaryDirectory() as folder:
    h5py_reads_what_we_write(os.path.join(folder, "ours.h5"))
    h5dump_reads_what_we_write(os.path.join(folder, "ours.h5"))
    we_read_what_h5py_writes(os.path.join(folder, "theirs.h5"))
print("3 passed, 0 failed")
