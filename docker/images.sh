#!/bin/sh
# Gets the current digests of the images from their registries and writes them to docker/images.env.
# Needs docker with buildx, and the network. If one request fails, the file stays as it is.
set -eu
file=$(dirname "$0")/images.env
new=
while IFS= read -r line; do
	case $line in
	[A-Z]*=*)
		image=${line#*=}
		image=${image%@*}
		digest=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$image")
		case $digest in
		sha256:*) ;;
		*) echo "images: no digest for $image: $digest" >&2 && exit 1 ;;
		esac
		line=${line%%=*}=$image@$digest
		;;
	esac
	new="$new$line
"
done <"$file"
printf '%s' "$new" >"$file"
