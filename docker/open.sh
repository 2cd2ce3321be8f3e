#!/bin/sh
# Opens addresses in a browser: on macOS, on Linux, and from inside WSL in the browser of Windows.
# Without a browser it prints what to open by hand.
for address; do
	case $(uname -sr) in
	Darwin*) tools='open' ;;
	*[Mm]icrosoft* | *WSL*) tools='wslview explorer.exe xdg-open' ;;
	*) tools='xdg-open' ;;
	esac
	opened=
	for tool in $tools; do
		command -v "$tool" >/dev/null 2>&1 || continue
		# explorer.exe exits with 1 on success.
		if "$tool" "$address" >/dev/null 2>&1 || [ "$tool" = explorer.exe ]; then
			opened=yes
			break
		fi
	done
	if [ -n "$opened" ]; then echo "opened $address"; else echo "open $address"; fi
done
