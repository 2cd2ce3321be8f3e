#!/bin/sh
# Opens addresses in a browser: macOS, Linux, and Windows' own browser from inside WSL. Where there is none, it says what to open by hand.
for address; do
	case $(uname -sr) in
	Darwin*) tools='open' ;;
	*[Mm]icrosoft* | *WSL*) tools='wslview explorer.exe xdg-open' ;;
	*) tools='xdg-open' ;;
	esac
	opened=
	for tool in $tools; do
		command -v "$tool" >/dev/null 2>&1 || continue
		# explorer.exe says 1 when all is well.
		if "$tool" "$address" >/dev/null 2>&1 || [ "$tool" = explorer.exe ]; then
			opened=yes
			break
		fi
	done
	if [ -n "$opened" ]; then echo "opened $address"; else echo "open $address"; fi
done
