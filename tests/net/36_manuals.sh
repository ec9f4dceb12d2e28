#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The manual pages say what the programs say: every command, option, key, value, function and error;
# and `make install` puts everything in its place, which `make uninstall` empties.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "Manual pages and make install"
MANUALS=$LAB_ROOT/docs/man
place=$(mktemp -d)
trap 'status=$?; rm -rf "$place"; (exit "$status"); test_end' EXIT

# page NAME.SECTION: as it is read, without the line breaks.
page()
{
	mandoc -T utf8 -O width=1000 "$MANUALS/$1" | col -bx | tr -s ' \n' ' '
}

# The heads of a page's parts and lists: what is explained there, not just mentioned.
heads()
{
	sed -n '/^\.It .*Xo$/,/^\.Xc$/p; /^\.\(It\|Ss\) /p' "$MANUALS/$1" | sed 's/Fl Fl /--/g' | tr '\n' ' '
}

# has WHERE PAGE WORD...: each WORD is in the page's text, or heads, not as a part of another word;
# prints those that are not.
has()
{
	local text word status=0

	text=$("$1" "$2")
	if [ -z "$text" ] || [ $# -eq 2 ]; then
		echo "nothing to look for, or nowhere"
		return 1
	fi
	shift 2
	for word in "$@"; do
		grep -qP -- "(?<![a-z0-9_-])\Q$word\E(?![a-z0-9_-])" <<<"$text" ||
			{ echo "not there: $word"; status=1; }
	done
	return $status
}

# Words of a usage text, one a line: commands, options, lists; no placeholder in capitals.
words_of_usage()
{
	grep -oE '(--)?[a-z][a-z-]+' | sort -u
}

# known SECTION FILE: the keys that the program knows there, from what it says of one that it does not.
known()
{
	printf '%s\n' "$2" >"$place/limpet.yaml"
	"$LAB_BUILD/limpet" check "$place/limpet.yaml" 2>&1 | sed -n "s/.*$1; known are //p" | tr -d ','
}

# choices KEY: its values, likewise.
choices()
{
	# shellcheck disable=SC2001
	sed "s/^\( *\)$1: .*/\1$1: nonsense/" <<<"$whole" >"$place/limpet.yaml"
	"$LAB_BUILD/limpet" check "$place/limpet.yaml" 2>&1 | sed -n 's/.*nonsense.* is not one of //p' | tr -d ','
}

# ---- what the pages say
for file in "$MANUALS"/*; do
	name=$(basename "$file")
	check_is "$name: mandoc has nothing to say" "" "$(mandoc -T lint -W warning "$file" 2>&1)"
	check_is "$name: man has nothing to say" "" "$(LC_ALL=C.UTF-8 man --warnings -l "$file" 2>&1 >/dev/null)"
done
mapfile -t words < <("$LAB_BUILD/limpet" --help | sed -n 's/^  limpet //p' | words_of_usage)
check "limpet(8) has every command" has heads limpet.8 "${words[@]}" --config --verbose --version --help
mapfile -t words < <("$LAB_BUILD/limpetd" --help | grep -oE -- '--[a-z-]+' | sort -u)
check "limpetd(8) has every option" has heads limpetd.8 "${words[@]}"
mapfile -t words < <("$LAB_BUILD/limpet" --help | sed -n 's/^  limpet \([a-z]*\).*/\1/p')
check_is "the completion knows every command" "" \
	"$(for word in "${words[@]}"; do grep -qw "$word" "$LAB_ROOT/scripts/completion.bash" || echo "$word"; done)"

section=$'node: n\nx: 1'
read -ra keys <<<"$(known "'x'" "$section")"
for section in tls tables router target; do
	read -ra more <<<"$(known "'x' in $section" "node: n
$section: { x: 1 }")"
	check "limpet check tells the keys of $section" test ${#more[@]} -gt 1
	keys+=("${more[@]}")
done
read -ra more <<<"$(known "'x' in router.services\[0\]" "node: n
router: { interfaces: [ eth0 ], address: 10.0.0.1, services: [ { x: 1 } ] }")"
check "limpet check tells the keys of a service" test ${#more[@]} -gt 1
check "limpet.yaml(5) has every key" has heads limpet.yaml.5 "${keys[@]}" "${more[@]}"
check_is "examples/limpet.yaml has every key" "" \
	"$(for word in "${keys[@]}" "${more[@]}"; do grep -q "\b$word:" "$LAB_ROOT/examples/limpet.yaml" || echo "$word"; done)"

whole="node: n
router:
  interfaces: [ eth0 ]
  address: 10.0.0.1
  standby_sync: continuous
  services:
    - name: a
      address: 203.0.113.10
      port: 80
      protocol: tcp
      distribution: maglev
      affinity: requested
      takeover: refuse
tls: { ca: a, certificate: b, key: c }"
for key in standby_sync protocol distribution affinity takeover; do
	read -ra words <<<"$(choices $key)"
	check "limpet.yaml(5) has every value of $key: ${words[*]}" has heads limpet.yaml.5 "${words[@]}"
done

header=$LAB_ROOT/include/limpet/limpet.h
mapfile -t words < <(grep -oE '\b(limpet_affinity_(request|wait|status|release|options)|SOL_LIMPET|LIMPET_[A-Z_]+[A-Z])\b' "$header" |
	grep -v '^LIMPET_H$' | sort -u)
check "limpet_affinity_request(3) has every name of limpet.h" has page limpet_affinity_request.3 "${words[@]}"
mapfile -t words < <(grep -oE -- '-E[A-Z]+' "$header" | sort -u)
check "and every error" has page limpet_affinity_request.3 "${words[@]}"
mapfile -t words < <(sed -nE '/^struct limpet/,/^}/s/^\tuint(32|64)_t ([a-z_]+);.*/\2/p' "$header" | sort -u)
check "and every member" has heads limpet_affinity_request.3 "${words[@]}"

# ---- make install
# make_install TARGET [VARIABLE=VALUE]
make_install()
{
	make -s -C "$LAB_ROOT" BUILD="$LAB_BUILD" DESTDIR="$place/root" "$@"
}

tree()
{
	(cd "$place/root" && find . ! -type d | sort)
}

check "make install" make_install install
first=$(tree)
check "a second time" make_install install
check_is "changes nothing" "$first" "$(tree)"
check_is "no link leads nowhere" "" "$(find "$place/root" -xtype l)"
libraries=$(dirname "$(find "$place/root" -name liblimpet.so)")
flags=(env "PKG_CONFIG_SYSROOT_DIR=$place/root" "PKG_CONFIG_LIBDIR=$libraries/pkgconfig" pkg-config)
cat >"$place/ask.c" <<'END'
#include <limpet/limpet.h>
#include <errno.h>
#include <unistd.h>
int main(void)
{
	struct limpet_affinity_options options = LIMPET_AFFINITY_OPTIONS_INIT;
	struct limpet_affinity_status status;
	int files[2];

	if (pipe(files) || limpet_affinity_request(files[0], &options) != -ENOTSOCK)
		return 1;
	return limpet_affinity_status(-1, &status) != -EBADF || limpet_affinity_wait(-1, 0) != -EBADF ||
	       limpet_affinity_release(-1) != -EBADF;
}
END
cp "$place/ask.c" "$place/ask.cc"
# shellcheck disable=SC2046,SC2086
for compiler in "gcc -std=c99" "gcc -std=gnu11" "g++ -std=c++11"; do
	source=$place/ask.c
	[[ $compiler != g++* ]] || source=$place/ask.cc
	check "$compiler compiles and links with what pkg-config says" $compiler -Wall -Wextra -Wpedantic -Werror \
		-o "$place/ask" "$source" $("${flags[@]}" --cflags --libs limpet)
	check "and the library works" env "LD_LIBRARY_PATH=$libraries" "$place/ask"
done
check_is "pkg-config's version is the program's" "limpet $("${flags[@]}" --modversion limpet)" \
	"$("$place/root/usr/sbin/limpet" --version)"
check_is "the library has these symbols, each with its version" \
	"limpet_affinity_release@@LIMPET_1.0 limpet_affinity_request@@LIMPET_1.0 limpet_affinity_status@@LIMPET_1.0 limpet_affinity_wait@@LIMPET_1.0" \
	"$(nm -D --defined-only "$libraries/liblimpet.so.1" | awk '$2 == "T" { print $3 }' | sort | xargs)"
check_is "and needs libc alone" "libc.so.6" \
	"$(objdump -p "$libraries/liblimpet.so.1" | awk '$1 == "NEEDED" { print $2 }' | xargs)"
check "the units name the installed programs" grep -q "^ExecStart=/usr/sbin/limpetd$" \
	"$place/root/lib/systemd/system/limpetd.service"
for name in limpet_affinity_wait limpet_affinity_status limpet_affinity_release; do
	check "man finds $name(3)" grep -qaF limpet_affinity_request "$place/root/usr/share/man/man3/$name.3"
done
check "make uninstall" make_install uninstall
check_is "leaves nothing" "" "$(tree)"
check_is "and no directory of its own" "" "$(find "$place/root" -name '*limpet*')"
check "make install with another prefix" make_install install PREFIX=/opt/limpet
check "the units name its programs" grep -q "^ExecStart=/opt/limpet/sbin/limpetd$" \
	"$place/root/lib/systemd/system/limpetd.service"
check_is "and limpet.pc its directory" /opt/limpet/include \
	"$(PKG_CONFIG_LIBDIR=$(dirname "$(find "$place/root" -name limpet.pc)") pkg-config --variable=includedir limpet)"
check "make uninstall" make_install uninstall PREFIX=/opt/limpet
check_is "leaves nothing" "" "$(tree)"
