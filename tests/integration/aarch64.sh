#!/bin/bash
# The wheel of aarch64 on a machine that is none: compiled by zig, installed beside the other wheels of that processor, and
# run under QEMU with Debian's Python. What it took in is verified here, by the code of this machine. `make aarch64`.
# Needs Debian or Ubuntu with apt, and the package index; changes nothing outside of its folder.
set -eu -o pipefail
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1") && repository=$PWD && place=${2:-$(mktemp -d -t lethe-aarch64-XXXX)} && cd "$place"

mkdir -p apt/{lists,cache/archives}/partial apt/state debs root tools zig && touch apt/status
arm=(-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=root -o Dir::State="$place/apt/state"
     -o Dir::State::lists="$place/apt/lists" -o Dir::Cache="$place/apt/cache" -o Dir::State::status="$place/apt/status")
apt-get "${arm[@]}" update -qq
(cd debs && apt-get "${arm[@]}" download -qq libc6 libgcc-s1 libstdc++6 python3.11-minimal libpython3.11-minimal \
    libpython3.11-stdlib libssl3 zlib1g libexpat1 libffi8 libbz2-1.0 liblzma5 libuuid1 libsqlite3-0 libcrypt1 media-types)
(cd tools && apt-get download -qq qemu-user-static)
for package in debs/*.deb; do dpkg -x "$package" root; done
dpkg -x tools/*.deb tools
"$python" -m pip download -q --no-deps -d zig ziglang
"$python" -m zipfile -e zig/*.whl zig && chmod +x zig/ziglang/zig
printf '#!/bin/bash\nexec %q cc -target aarch64-linux-gnu.2.28 "$@"\n' "$place/zig/ziglang/zig" > cc && chmod +x cc

git -C "$repository" archive HEAD --prefix=source/ | tar x
CC=$place/cc LDSHARED="$place/cc -shared" CFLAGS=-O2 _PYTHON_HOST_PLATFORM=linux-aarch64 \
    "$python" -m pip wheel -q --no-build-isolation --no-deps --no-index -w wheels ./source
# Its own sources are all that faust-streaming has for this processor; without a compiler they are Python alone.
grep -v '^ *--hash' source/requirements.lock | sed 's/ \\$//' > needed
CC=/bin/false "$python" -m pip wheel -q --no-deps -w wheels "$(grep ^faust-streaming needed)" --no-binary faust-streaming
platforms=(); for version in 2_34 2_28 2_24 2_17; do platforms+=(--platform "manylinux_${version}_aarch64"); done
grep -v ^faust-streaming needed > others
"$python" -m pip install -q --no-deps --only-binary=:all: "${platforms[@]}" --platform manylinux2014_aarch64 --python-version 3.11 \
    --implementation cp --abi cp311 --abi abi3 --abi none --target site -r others
for wheel in wheels/*.whl; do "$python" -m zipfile -e "$wheel" site; done

there() { "$place"/tools/usr/bin/qemu-aarch64-static -L "$place/root" -E LD_LIBRARY_PATH="$place/root/usr/lib/aarch64-linux-gnu" \
    -E PYTHONPATH="$place/site" "$place/root/usr/bin/python3.11" "$@"; }
lethe() { there -c 'from lethe.console.cli.main import main; main()' "$@"; }
there -c 'import platform, lethe._native; print(platform.machine(), lethe._native.__file__)'
export LETHE_ROOT=$place/warehouse LETHE_KEYS_DIR=$place/keys
here=$(dirname "$python")/lethe
"$here" generate --format infobip/sms-report --count 2000 --seed 1 --out records.ndjson
lethe ingest records.ndjson --format infobip/sms-report
lethe verify
"$here" verify
"$here" ledger --check
