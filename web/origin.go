package web

import (
	"net/http"
	"net/url"
	"strings"
)

// pageHeader is sent by our page with what costs. Another site's page cannot set it: a browser would ask us first, and we allow nothing.
const pageHeader = "X-Firstclick"

// costs says whether a request makes us do more than send a file or the numbers that we have.
func costs(path string) bool {
	return strings.HasPrefix(path, "/api/") || strings.HasPrefix(path, "/debug/")
}

// foreign says whether a request was sent by another site's page, which could not read the answer but lets us work for it. Browsers set both
// headers and scripts cannot: https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Sec-Fetch-Site. They leave out Sec-Fetch-Site where the
// address is neither https nor this machine, and Origin where nothing but a picture is asked for: a scan is then done for a browser only with the
// header that our page sends. An event stream cannot send one.
func foreign(r *http.Request) bool {
	site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
	if origin != "" {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || u.Host != r.Host {
			return true
		}
	}
	if site != "" {
		return site != "same-origin" && site != "none"
	}
	browser := strings.HasPrefix(r.Header.Get("User-Agent"), "Mozilla/")
	return browser && origin == "" && r.URL.Path != eventsPath && r.Header.Get(pageHeader) == ""
}
