// Package docker is the image, and what the compose file mounts; its tests hold docker-compose.yml,
// and what stands in deploy/, to the program.
//
// They need no Docker. The file is loaded by Compose's own loader under every profile, and checked
// against the program's real flags and variables, the files it mounts, and the versions that the
// other suites prove. Build tags realkafka and prometheus: the Dockerfile's RUN lines are run in a
// clean folder, Kafka's properties are rendered from the container's variables by the code that the
// image itself runs, and every service whose program can be had here is started as a plain process
// with the compose file's own command and variables, hosts and ports apart.
//
// What is left unproven: that the images can be pulled and run, and what Docker makes of networks,
// volumes and limits.
package docker
