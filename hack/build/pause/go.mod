module maas.dev/build/pause

go 1.26.0
