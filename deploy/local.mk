# programs and files of deploy
