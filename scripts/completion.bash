# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
# Completion of `limpet` in bash.

_limpet_names()
{
	limpet show "$1" --json 2>/dev/null | sed -n "s/.*\"$2\": *\"\\{0,1\\}\\([^\",]*\\).*/\\1/p" | sort -u
}

# What may follow the words of a command, the command first.
_limpet_words()
{
	case $1 in
	show)
		[[ " $* " =~ \ (services|targets|instances|connections|affinities|routers|sync)\  ]] ||
			echo services targets instances connections affinities routers sync
		echo --service --client --json
		;;
	status) echo --json ;;
	unload) echo --force ;;
	reload) echo --end-affinities ;;
	affinity) [ $# -gt 1 ] && _limpet_names services name || echo release ;;
	explain) _limpet_names services name ;;
	drain) echo instance --wait --timeout --end-affinities ;;
	resume) echo instance ;;
	forget) _limpet_names targets name ;;
	esac
	echo --config --verbose --help
}

_limpet()
{
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} words

	case $previous in
	--config)
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		return
		;;
	--service) words=$(_limpet_names services name) ;;
	instance) words=$(_limpet_names instances id) ;;
	*) words=$(_limpet_words "${COMP_WORDS[@]:1:COMP_CWORD-1}") ;;
	esac
	[ "$COMP_CWORD" -gt 1 ] || words="load unload reload check status show explain monitor affinity drain resume
		activate deactivate ready forget --help --version"
	if [ "$command" = check ] && [ "$COMP_CWORD" -gt 1 ] && [[ $current != -* ]]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		return
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _limpet limpet
